"""Networks that run side by side, and gates that mix what they give (Jacobs 1991)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recsys.nn.mlp import Block, SplitLinear

__all__ = ["Experts", "ParallelLinear", "ParallelMLP", "mixed"]


class ParallelLinear(nn.Module):
    """E linear layers, each on an input of its own, as one product of matrices.

    Args:
        count: E.
        inward: K, width of each input.
        outward: H, width of each output.
    """

    def __init__(self, count: int, inward: int, outward: int) -> None:
        super().__init__()
        bound = inward**-0.5  # as a layer by itself would start
        self.weight = nn.Parameter(torch.empty(count, inward, outward).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, outward).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, E, K)` to `(B, C, E, H)`."""
        # Experts first: one product of large matrices each, not one of small ones for every candidate.
        rows = x.flatten(0, 1).transpose(0, 1)
        out = torch.baddbmm(self.bias.unsqueeze(1), rows, self.weight)
        return out.transpose(0, 1).reshape(*x.shape[:3], -1)


class _Between(nn.Module):
    """[norm] → activation → dropout of E networks at once.

    Each network has its own slopes and batch statistics. Layer norm looks at one network at a time; its gain and the
    slopes after it are shared.
    """

    def __init__(self, count: int, width: int, *, activation: str, dropout: float, norm: str) -> None:
        super().__init__()
        self.apart = norm == "layer"
        self.block = Block(width if self.apart else count * width, activation=activation, dropout=dropout, norm=norm)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(B, C, E, H)` to the same."""
        if self.apart:
            out: Tensor = self.block(x, None if mask is None else mask.unsqueeze(-1))
            return out
        flat: Tensor = self.block(x.flatten(2), mask)
        return flat.reshape(x.shape)


class ParallelMLP(nn.Module):
    """E networks, each on an input of its own.

    Args:
        count: E.
        inward: K, width of each input.
        hidden: widths of the hidden layers; may be empty.
        out: width of a linear output layer; `None` for none.
        activation: one of `ACTIVATIONS`.
        dropout: after every hidden layer.
        norm: one of `NORMS`, before every activation.
    """

    def __init__(
        self,
        count: int,
        inward: int,
        hidden: Sequence[int],
        *,
        out: int | None,
        activation: str = "relu",
        dropout: float = 0.0,
        norm: str = "none",
    ) -> None:
        super().__init__()
        widths = [inward, *hidden, *(() if out is None else (out,))]
        self.layers = nn.ModuleList(ParallelLinear(count, a, b) for a, b in itertools.pairwise(widths))
        self.between = nn.ModuleList(
            _Between(count, width, activation=activation, dropout=dropout, norm=norm) for width in hidden
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, C, E, K)` and mask `(B, C)` of real candidates to `(B, C, E, H)`."""
        for layer, between in itertools.zip_longest(self.layers, self.between):
            x = layer(x)
            x = x if between is None else between(x, mask)
        return x

    def last_weights(self) -> list[Tensor]:
        """Of the last layer."""
        return list(self.layers[-1].parameters())


class Experts(nn.Module):
    """E networks on the same input, a request and its candidates.

    The first layers of all of them are one `SplitLinear`: a request's own features cost one multiplication a request.

    Args:
        count: E.
        request: width R of the request side; may be 0.
        candidate: width K of the candidate side.
        hidden: widths of the layers of each; at least one.
        activation: one of `ACTIVATIONS`.
        dropout: after every layer.
        norm: one of `NORMS`, before every activation.
    """

    def __init__(
        self,
        count: int,
        request: int,
        candidate: int,
        hidden: Sequence[int],
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        norm: str = "none",
    ) -> None:
        super().__init__()
        self.count = count
        self.first = SplitLinear(request, candidate, count * hidden[0])
        self.start = _Between(count, hidden[0], activation=activation, dropout=dropout, norm=norm)
        self.rest = ParallelMLP(
            count, hidden[0], hidden[1:], out=None, activation=activation, dropout=dropout, norm=norm
        )

    def forward(self, request: Tensor, candidate: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, R)`, `(B, C, K)` and mask `(B, C)` of real candidates to `(B, C, E, H)`."""
        x: Tensor = self.first(request, candidate)
        out: Tensor = self.rest(self.start(x.reshape(*x.shape[:2], self.count, -1), mask), mask)
        return out

    def last_weights(self) -> list[Tensor]:
        """Of the last layers of all experts."""
        return self.rest.last_weights() if len(self.rest.layers) else list(self.first.parameters())


def mixed(experts: Tensor, gates: Tensor) -> Tensor:
    """Means of experts `(B, C, E, H)` weighted by the softmax of gates `(B, C, G, E)`: `(B, C, G, H)`.

    A gate of −inf shuts an expert out; each gate needs one that is open.
    """
    return torch.matmul(gates.softmax(-1), experts)
