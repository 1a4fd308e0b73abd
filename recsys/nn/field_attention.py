"""Self-attention between fields."""

import torch
from torch import Tensor, nn

from recsys.nn.interaction import together
from recsys.nn.linear import Linear

__all__ = ["FieldAttention"]


class FieldAttention(nn.Module):
    """ReLU(heads of attention between all fields, side by side, + W_res·v) (Song 2019, equations 5 to 8).

    Logits are plain inner products of queries and keys, as in the paper. Fields of the request are projected once a
    request; from there on every field knows of the candidate.

    Args:
        dim: D of the fields.
        heads: of the attention.
        size: numbers a head; the result has heads · size.
    """

    def __init__(self, dim: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.project = Linear(dim, 4 * heads * size, bias=False)

    def forward(self, candidate: Tensor, request: Tensor | None = None) -> Tensor:
        """`(B, C, G, D)` and fields of the request `(B, F, D)`, none by default, to `(B, C, F + G, heads · size)`."""
        projected = self.project(candidate)
        projected = projected if request is None else together(self.project(request), projected)
        query, key, value, residual = projected.chunk(4, dim=-1)
        weights = (self._heads(query) @ self._heads(key).transpose(-1, -2)).softmax(-1)
        attended = (weights @ self._heads(value)).transpose(2, 3).flatten(3)
        return torch.relu(attended + residual)

    def _heads(self, x: Tensor) -> Tensor:
        """`(B, C, N, heads · size)` to `(B, C, heads, N, size)`."""
        return x.reshape(*x.shape[:-1], self.heads, self.size).transpose(2, 3)
