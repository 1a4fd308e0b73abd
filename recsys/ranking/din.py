"""DIN: the history seen from the candidate (Zhou 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.attention import TargetAttention
from recsys.nn.penalty import BatchAwareL2
from recsys.ranking.base import from_zero, network
from recsys.ranking.sequences import SequenceRanker
from recsys.ranking.settings.sequences import DINConfig
from recsys.training.batches import SampleSource

__all__ = ["DIN", "build"]


class DIN(SequenceRanker):
    """A deep network over the inputs and over the history, pooled by its relation to the candidate (figure 2).

    Args:
        spec: see `SequenceRanker`.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: DINConfig) -> None:
        super().__init__(spec, config)
        self.attention = TargetAttention(self.width, config.attention_hidden, activation=config.activation)
        request, candidate = self.inputs.flat_widths
        self.deep = from_zero(network(config, request, candidate + self.width))
        self.batch_l2 = config.batch_l2
        assert self.inputs.embeddings is not None
        self.penalty = BatchAwareL2(len(self.inputs.embeddings.weight))

    def fit_inputs(self, samples: SampleSource) -> None:
        """See `Ranker`; and counts categories."""
        super().fit_inputs(samples)
        if self.batch_l2:
            for batch in samples.in_order():
                self.penalty.count(self.inputs.rows(batch.inputs))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        seen = self.compared(inputs)
        interest = self.attention(seen.query, seen.keys, seen.real, mask)
        deep: Tensor = self.deep(seen.request, torch.cat([seen.candidate, interest], dim=-1), mask)
        return self.bias + deep

    def with_auxiliary(self, inputs: Mapping[str, Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """`(B, C, 1)`, and the mini-batch aware penalty."""
        scores = self(inputs, mask)
        if not self.batch_l2:
            return scores, scores.new_zeros(())
        assert self.inputs.embeddings is not None
        return scores, self.batch_l2 * self.penalty(self.inputs.rows(inputs), self.inputs.embeddings)


def build(config: DINConfig, spec: InputSpec) -> DIN:
    """See `build_ranker`."""
    return DIN(spec, config)
