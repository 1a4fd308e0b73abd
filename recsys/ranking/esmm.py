"""ESMM: click, then conversion, over all impressions (Ma 2018, SIGIR)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.ranking.base import from_zero, network
from recsys.ranking.settings.tasks import ESMMConfig
from recsys.ranking.tasks import MultiTaskRanker

__all__ = ["ESMM", "build"]


class ESMM(MultiTaskRanker):
    """p(click) = σ(a) and p(click and conversion) = σ(a)·σ(b), of two networks on shared embeddings (equation 1).

    Conversions are learned over all impressions, not over clicked ones alone: σ(b), the chance of a conversion once
    clicked, is never given a label of its own.

    Args:
        spec: inputs; history is not read.
        config: sizes.
        tasks: 2: click, and click with conversion.
    """

    def __init__(self, spec: InputSpec, config: ESMMConfig, tasks: int) -> None:
        super().__init__(spec, config, tasks)
        self.click = from_zero(network(config, *self.inputs.flat_widths))
        self.conversion = from_zero(network(config, *self.inputs.flat_widths))

    def start_at(self, rates: Tensor) -> None:
        """See `Ranker`; the second bias starts at the log-odds of a conversion among clicks."""
        click, both = rates.clamp(1e-4, 1 - 1e-4)
        super().start_at(torch.stack([click, both / click]))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 2)`."""
        x = self.inputs.flat(inputs)
        logits = self.bias + torch.cat([self.click(*x, mask), self.conversion(*x, mask)], dim=-1)
        # 1/(σ(a)·σ(b)) − 1 = e^−a + e^−b + e^−(a + b): the odds of both, without rounding where they are small.
        both = -torch.logsumexp(torch.cat([-logits, -logits.sum(-1, keepdim=True)], dim=-1), dim=-1, keepdim=True)
        return torch.cat([logits[..., :1], both], dim=-1)

    def shared_weights(self) -> list[Tensor]:
        """See `MultiTaskRanker`: the embeddings are all that is shared."""
        return [] if self.inputs.embeddings is None else [self.inputs.embeddings.weight]


def build(config: ESMMConfig, spec: InputSpec, tasks: int) -> ESMM:
    """See `build_ranker`."""
    return ESMM(spec, config, tasks)
