"""The linear part that many rankers share."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.embedding import EmbeddingCollection
from recsys.ranking.base import FieldInputs, Ranker

__all__ = ["FirstOrder", "FirstOrderRanker"]


class FirstOrder(nn.Module):
    """Σ_i w_i·x_i: a weight for every embedding row and for every number, all starting at zero."""

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
        groups = [fields for fields in (self.request, self.candidate) if fields]
        if self.weights is not None:
            for weights in self.weights.together(inputs, *groups):
                sums = weights.sum((-1, -2))
                total = total + (sums if sums.ndim == 2 else sums.unsqueeze(1))
        return total


class FirstOrderRanker(Ranker):
    """A ranker whose logit has a linear part.

    Attributes:
        first_order: the linear part, without the bias.
    """

    def __init__(self, spec: InputSpec, dim: int, embedding_dropout: float, *, number_vectors: bool = False) -> None:
        super().__init__(spec, dim, embedding_dropout, number_vectors=number_vectors)
        self.first_order = FirstOrder(self.inputs)

    def linear(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Bias + first order: `(B, C)`."""
        first: Tensor = self.first_order(inputs, *self.inputs.numbers(inputs))
        return self.bias + first
