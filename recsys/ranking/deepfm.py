"""DeepFM: a factorisation machine and a deep network on shared embeddings (Guo 2017)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.interaction import second_order
from recsys.nn.mlp import MLP, SplitLinear
from recsys.ranking.base import Ranker, from_zero
from recsys.ranking.configs import DeepFMConfig

__all__ = ["DeepFM", "build"]


class DeepFM(Ranker):
    """logit = bias + first order + Σ_{i<j} ⟨v_i, v_j⟩ + deep([v, numbers]) (equations 1 to 4).

    Numbers have no embedding: they enter the first-order part and the deep network, standardised.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: DeepFMConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        own = self.inputs
        requested, offered = len(own.request_numbers), len(own.candidate_numbers)
        self.linear = SplitLinear(requested, offered, 1) if requested + offered else None
        self.deep = from_zero(
            MLP(
                len(own.request) * own.dim + requested,
                len(own.candidate) * own.dim + offered,
                config.hidden,
                dropout=config.dropout,
                batch_norm=config.batch_norm,
            )
        )
        if self.linear is not None:
            for parameter in self.linear.parameters():
                torch.nn.init.zeros_(parameter)

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.vectors(inputs)
        request_numbers, candidate_numbers = self.inputs.numbers(inputs)
        logits = self.bias + self.inputs.first_order(inputs) + second_order(request, candidate)
        deep = self.deep(
            torch.cat([request.flatten(1), request_numbers], dim=-1),
            torch.cat([candidate.flatten(2), candidate_numbers], dim=-1),
            mask,
        )
        total: Tensor = logits.unsqueeze(-1) + deep
        return total if self.linear is None else total + self.linear(request_numbers, candidate_numbers)


def build(config: DeepFMConfig, spec: InputSpec) -> DeepFM:
    """See `build_ranker`."""
    return DeepFM(spec, config)
