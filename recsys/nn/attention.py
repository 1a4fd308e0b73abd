"""Attention of a candidate over the history."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recsys.nn.activation import ACTIVATIONS
from recsys.nn.linear import Linear, linear

__all__ = ["TargetAttention"]


class TargetAttention(nn.Module):
    """Weights each past item by its relation to the candidate, and sums (Zhou 2018, section 4.3).

    The paper's activation unit reads [q, k, q − k, q∘k]. Its first layer is linear, so it is W_q·q + W_k·k + W_p·(q∘k):
    the candidate's part is computed once a candidate, the history's once a request, and only the product for each pair.
    No softmax: the weights keep the strength of interest.

    Args:
        dim: K, length of an item's vector.
        hidden: widths of the unit's hidden layers; at least one.
        activation: one of `ACTIVATIONS`.
    """

    def __init__(self, dim: int, hidden: Sequence[int], *, activation: str = "dice") -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden is empty; expected the width of at least one hidden layer")
        self.query = Linear(dim, hidden[0])
        self.key = Linear(dim, hidden[0], bias=False)
        self.product = nn.Parameter(torch.empty(hidden[0], dim))
        for weight in (self.query.weight, self.key.weight, self.product):
            nn.init.uniform_(weight, -((3 * dim) ** -0.5), (3 * dim) ** -0.5)
        widths = (*hidden, 1)
        self.activations = nn.ModuleList(ACTIVATIONS[activation](width) for width in hidden)
        self.layers = nn.ModuleList(Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Pools the history for each candidate.

        Args:
            query: `(B, C, K)` candidates.
            keys: `(B, L, K)` past items.
            mask: `(B, L)` true at real past items; an empty history gives zeros.
            candidates: `(B, C)` true at real candidates; only keeps padding out of batch statistics.

        Returns:
            `(B, C, K)`.
        """
        weights = self._weights(query, keys, mask, candidates).masked_fill(~mask.unsqueeze(1), 0.0)
        pooled: Tensor = weights @ keys
        return pooled

    def _weights(self, query: Tensor, keys: Tensor, mask: Tensor, candidates: Tensor | None) -> Tensor:
        counted = mask.unsqueeze(1) if candidates is None else mask.unsqueeze(1) & candidates.unsqueeze(2)
        products = linear(query.unsqueeze(2) * keys.unsqueeze(1), self.product)
        x = products + self.key(keys).unsqueeze(1) + self.query(query).unsqueeze(2)
        for activation, layer in zip(self.activations, self.layers, strict=True):
            x = layer(activation(x, counted))
        scores: Tensor = x.squeeze(-1)
        return scores
