"""Feed-forward networks over requests and candidates."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from recsys.nn.activation import ACTIVATIONS
from recsys.nn.dropout import Dropout
from recsys.nn.linear import Linear
from recsys.nn.norm import NORMS

__all__ = ["MLP", "Block", "SplitLinear"]


class SplitLinear(nn.Module):
    """A linear layer over [request, candidate] that multiplies the request part once a request.

    W·[r, c] + b = W_r·r + (W_c·c + b): `(B, R)` and `(B, C, K)` to `(B, C, H)`. R may be 0, and b left out.
    """

    def __init__(self, request: int, candidate: int, out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.request = Linear(request, out, bias=False) if request else None
        self.candidate = Linear(candidate, out, bias=bias)
        bound = (request + candidate) ** -0.5  # as one layer of both widths would start
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, request: Tensor, candidate: Tensor) -> Tensor:
        """`(B, R)` and `(B, C, K)` to `(B, C, H)`."""
        out: Tensor = self.candidate(candidate)
        return out if self.request is None else out + self.request(request).unsqueeze(1)


class Block(nn.Module):
    """What follows a linear layer: [norm] → activation → dropout. `(…, D)` and a mask `(…)` to `(…, D)`."""

    def __init__(self, width: int, *, activation: str, dropout: float, norm: str) -> None:
        super().__init__()
        self.norm = NORMS[norm](width)
        self.activation = ACTIVATIONS[activation](width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(…, D)` to `(…, D)`."""
        out: Tensor = self.dropout(self.activation(self.norm(x, mask), mask))
        return out


class MLP(nn.Module):
    """Hidden layers and a linear output over requests and candidates.

    The first layer is a `SplitLinear`, so that a request's own features cost one multiplication a request.

    Args:
        request: width R of the request side; may be 0.
        candidate: width K of the candidate side.
        hidden: widths of the hidden layers; at least one.
        out: width T of the output; `None` for no output layer: the last hidden layer is given, T its width.
        activation: one of `ACTIVATIONS`.
        dropout: after every hidden layer.
        norm: one of `NORMS`, before every activation.
    """

    def __init__(
        self,
        request: int,
        candidate: int,
        hidden: Sequence[int],
        *,
        out: int | None = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        norm: str = "none",
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden is empty; expected the width of at least one hidden layer")
        self.first = SplitLinear(request, candidate, hidden[0])
        widths = hidden if out is None else (*hidden, out)
        self.layers = nn.ModuleList(Linear(a, b) for a, b in itertools.pairwise(widths))
        self.blocks = nn.ModuleList(Block(width, activation=activation, dropout=dropout, norm=norm) for width in hidden)

    def forward(self, request: Tensor, candidate: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, R)`, `(B, C, K)` and mask `(B, C)` of real candidates to `(B, C, T)`.

        The mask only keeps padding out of batch statistics.
        """
        x: Tensor = self.first(request, candidate)
        for block, layer in itertools.zip_longest(self.blocks, self.layers):
            x = block(x, mask)
            x = x if layer is None else layer(x)
        return x
