"""Two vectors fused by their products."""

import torch
from torch import Tensor, nn

__all__ = ["BilinearFusion"]


class BilinearFusion(nn.Module):
    """b + w_1·x + w_2·y + Σ_j x_jᵀ·W_j·y_j, x_j and y_j the j-th of k equal parts (Mao 2023, equations 8 to 10).

    Everything starts at zero. `(…, X)` and `(…, Y)` to `(…, 1)`.

    Args:
        first: X.
        second: Y.
        heads: k; divides both.
    """

    def __init__(self, first: int, second: int, heads: int) -> None:
        super().__init__()
        if first % heads or second % heads:
            raise ValueError(f"{heads} heads do not divide vectors of {first} and {second}; expected a divisor of both")
        self.heads = heads
        self.first = nn.Parameter(torch.zeros(first))
        self.second = nn.Parameter(torch.zeros(second))
        self.pairs = nn.Parameter(torch.zeros(heads, first // heads, second // heads))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`(…, X)` and `(…, Y)` to `(…, 1)`."""
        parts = x.reshape(*x.shape[:-1], self.heads, 1, -1) @ self.pairs  # (…, k, 1, Y / k)
        products = (parts.flatten(-3) * y).sum(-1)
        return (x @ self.first + y @ self.second + products).unsqueeze(-1)
