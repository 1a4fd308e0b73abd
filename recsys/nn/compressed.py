"""Compressed interaction network: products of three and more fields, compressed a layer at a time."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recsys.nn.interaction import pair_products, together

__all__ = ["CompressedInteraction"]


class CompressedInteraction(nn.Module):
    """X^k_h = Σ_ij W^k,h_ij·(X^{k−1}_i ∘ X^0_j), each map summed over its D numbers (Lian 2018, equations 6 and 7).

    The first layer's products are symmetric, so it has one weight for each pair i ≤ j; those of two request fields are
    weighed once a request. The deeper layers' products all hold a candidate, and are worked out for each.

    Args:
        request: number of request fields F; may be 0.
        candidate: number of candidate fields G.
        maps: H_1, H_2, …: feature maps of each layer; at least one.
    """

    def __init__(self, request: int, candidate: int, maps: Sequence[int]) -> None:
        super().__init__()
        count = request + candidate
        own, every = request * (request + 1) // 2, count * (count + 1) // 2
        self.own = _drawn(maps[0], own, every)
        self.mixed = _drawn(maps[0], every - own, every)
        self.deeper = nn.ParameterList(_drawn(b, a * count, a * count) for a, b in itertools.pairwise(maps))

    def forward(self, request: Tensor, candidate: Tensor) -> Tensor:
        """`(B, F, D)` and `(B, C, G, D)` to `(B, C, H_1 + H_2 + …)`."""
        own, mixed = pair_products(request, candidate, squares=True)
        maps = [(self.own @ own).unsqueeze(1) + self.mixed @ mixed]
        fields = together(request, candidate).unsqueeze(2)  # (B, C, 1, N, D)
        for weight in self.deeper:
            products = maps[-1].unsqueeze(3) * fields
            maps.append(weight @ products.flatten(2, 3))
        return torch.cat([values.sum(-1) for values in maps], dim=-1)


def _drawn(maps: int, products: int, fan: int) -> nn.Parameter:
    """`(H, P)` weights as a linear layer of `fan` inputs starts."""
    return nn.Parameter(torch.empty(maps, products).uniform_(-(fan**-0.5), fan**-0.5))
