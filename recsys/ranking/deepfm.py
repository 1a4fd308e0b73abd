"""DeepFM: a factorisation machine and a deep network on shared embeddings (Guo 2017)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.embedding import EmbeddingCollection
from recsys.nn.interaction import second_order
from recsys.nn.mlp import MLP
from recsys.ranking.base import FieldInputs, Ranker, from_zero
from recsys.ranking.configs import DeepFMConfig

__all__ = ["DeepFM", "build"]


class _FirstOrder(nn.Module):
    """Σ_i w_i·x_i: a weight for every embedding row and for every number, all starting at zero (equation 2)."""

    def __init__(self, inputs: FieldInputs) -> None:
        super().__init__()
        self.request, self.candidate = inputs.request, inputs.candidate
        index = [*self.request, *self.candidate]
        self.weights = EmbeddingCollection(index, 1, std=0.0) if index else None
        self.request_numbers = nn.Parameter(torch.zeros(len(inputs.request_numbers)))
        self.candidate_numbers = nn.Parameter(torch.zeros(len(inputs.candidate_numbers)))

    def forward(self, inputs: Mapping[str, Tensor], request: Tensor, candidate: Tensor) -> Tensor:
        """`(B, C)` from the inputs, and the numbers `(B, R)` and `(B, C, S)`."""
        total = (request * self.request_numbers).sum(-1, keepdim=True) + (candidate * self.candidate_numbers).sum(-1)
        if self.weights is not None and self.candidate:
            total = total + self.weights(inputs, self.candidate).sum((-1, -2))
        if self.weights is not None and self.request:
            total = total + self.weights(inputs, self.request).sum((-1, -2)).unsqueeze(1)
        return total


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
        self.first_order = _FirstOrder(own)
        self.deep = from_zero(
            MLP(
                len(own.request) * own.dim + requested,
                len(own.candidate) * own.dim + offered,
                config.hidden,
                dropout=config.dropout,
                batch_norm=config.batch_norm,
            )
        )

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.vectors(inputs)
        request_numbers, candidate_numbers = self.inputs.numbers(inputs)
        first = self.first_order(inputs, request_numbers, candidate_numbers)
        logits = self.bias + first + second_order(request, candidate)
        deep = self.deep(
            torch.cat([request.flatten(1), request_numbers], dim=-1),
            torch.cat([candidate.flatten(2), candidate_numbers], dim=-1),
            mask,
        )
        total: Tensor = logits.unsqueeze(-1) + deep
        return total


def build(config: DeepFMConfig, spec: InputSpec) -> DeepFM:
    """See `build_ranker`."""
    return DeepFM(spec, config)
