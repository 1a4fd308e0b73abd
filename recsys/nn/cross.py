"""Cross networks: polynomials of all inputs whose degree grows by one a layer.

The inputs x₀ = [request, candidate] come as `(B, R)`, R may be 0, and `(B, C, K)`; N = R + K.
"""

import torch
from torch import Tensor, nn

from recsys.nn.linear import Linear
from recsys.nn.mlp import SplitLinear

__all__ = ["CrossMatrices", "CrossVectors", "joined"]


def joined(request: Tensor, candidate: Tensor) -> Tensor:
    """The request beside each candidate: `(B, R)` and `(B, C, K)` to `(B, C, N)`."""
    return torch.cat([request.unsqueeze(1).expand(-1, candidate.shape[1], -1), candidate], dim=-1)


class CrossVectors(nn.Module):
    """w·x_L with x_{l+1} = x₀·(w_l·x_l) + b_l + x_l (Wang 2017, equation 3).

    Every x_l is α_l·x₀ + β_l, with a number α_l that differs between candidates and a vector β_l that does not. So only
    the products of x₀ with the L + 1 weight vectors are needed, of which the request's share is worked out once a
    request: nothing of size `(B, C, N)` exists. w starts at zero.

    Args:
        request: R.
        candidate: K.
        layers: L.
    """

    def __init__(self, request: int, candidate: int, layers: int) -> None:
        super().__init__()
        self.products = SplitLinear(request, candidate, layers, bias=False)
        self.out = SplitLinear(request, candidate, 1, bias=False)
        self.biases = nn.Parameter(torch.zeros(layers, request + candidate))
        for weight in self.out.parameters():
            nn.init.zeros_(weight)

    def forward(self, request: Tensor, candidate: Tensor) -> Tensor:
        """`(B, R)` and `(B, C, K)` to `(B, C, 1)`."""
        products, read = self.products(request, candidate), self.out(request, candidate)
        offsets = self.biases.cumsum(0)  # β_1 … β_L; β_0 is zero
        weights, out = _weights(self.products), _weights(self.out)
        scale = torch.ones_like(read)
        for layer in range(len(weights)):
            shift = offsets[layer - 1] @ weights[layer] if layer else 0.0
            scale = scale + scale * products[..., layer : layer + 1] + shift
        crossed: Tensor = scale * read + offsets[-1] @ out[0]
        return crossed


def _weights(layer: SplitLinear) -> Tensor:
    """`(H, N)`."""
    candidate = layer.candidate.weight
    return candidate if layer.request is None else torch.cat([layer.request.weight, candidate], dim=1)


class CrossMatrices(nn.Module):
    """x_L with x_{l+1} = x₀ ∘ f_l(x_l) + x_l (Wang 2021, sections 3.2 and 3.5).

    f_l(x) is W·x + b; with a rank, U·(Vᵀ·x) + b; with several experts
    Σ_i softmax(G·x)_i·U_i·tanh(C_i·tanh(V_iᵀ·x)) + b.
    The request's share of the first layer's products with x₀ is worked out once a request.

    Args:
        request: R.
        candidate: K.
        layers: L.
        rank: columns of U and V; `None` for a full matrix W.
        experts: how many U, C, V a layer has; more than one needs a rank.
    """

    def __init__(self, request: int, candidate: int, layers: int, *, rank: int | None = None, experts: int = 1) -> None:
        super().__init__()
        if experts > 1 and rank is None:
            raise ValueError(f"{experts} experts without a rank; expected a rank, as experts share a low-rank layer")
        sides = [(request, candidate), *[(0, request + candidate)] * (layers - 1)]
        self.layers = nn.ModuleList(_map(*side, rank, experts) for side in sides)

    def forward(self, request: Tensor, candidate: Tensor) -> Tensor:
        """`(B, R)` and `(B, C, K)` to `(B, C, N)`."""
        start = joined(request, candidate)
        x = start
        for position, layer in enumerate(self.layers):
            x = x + start * (layer(request, x) if position else layer(request, candidate))
        return x


def _map(request: int, candidate: int, rank: int | None, experts: int) -> nn.Module:
    width = request + candidate
    if rank is None:
        return SplitLinear(request, candidate, width)
    return _LowRank(request, candidate, rank) if experts == 1 else _Experts(request, candidate, rank, experts)


class _LowRank(nn.Module):
    """U·(Vᵀ·x) + b."""

    def __init__(self, request: int, candidate: int, rank: int) -> None:
        super().__init__()
        self.down = SplitLinear(request, candidate, rank, bias=False)
        self.up = Linear(rank, request + candidate)

    def forward(self, request: Tensor, candidate: Tensor) -> Tensor:
        out: Tensor = self.up(self.down(request, candidate))
        return out


class _Experts(nn.Module):
    """Σ_i softmax(G·x)_i·U_i·tanh(C_i·tanh(V_iᵀ·x)) + b: one matrix product each for V and U of all experts."""

    def __init__(self, request: int, candidate: int, rank: int, experts: int) -> None:
        super().__init__()
        self.shape = experts, rank
        self.down = SplitLinear(request, candidate, experts * rank, bias=False)
        self.core = nn.Parameter(torch.empty(experts, rank, rank).uniform_(-(rank**-0.5), rank**-0.5))
        self.up = Linear(experts * rank, request + candidate)
        self.gate = SplitLinear(request, candidate, experts, bias=False)

    def forward(self, request: Tensor, candidate: Tensor) -> Tensor:
        low = torch.tanh(self.down(request, candidate))
        low = low.reshape(*low.shape[:-1], *self.shape)
        low = torch.tanh((self.core @ low.unsqueeze(-1)).squeeze(-1))
        shares = self.gate(request, candidate).softmax(-1).unsqueeze(-1)
        out: Tensor = self.up((shares * low).flatten(-2))
        return out
