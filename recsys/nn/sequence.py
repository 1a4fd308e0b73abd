"""Encoders of sequences: `(B, L, D)` vectors, oldest first and padding last.

The states of `RecurrentStates` and `SelfAttentionStates` know their position and those before it, so one pass gives a
training example a position. Padding stands behind what is real, so no real position ever sees it.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.nn.dropout import Dropout
from recsys.nn.linear import Linear

__all__ = [
    "AttentionBlock",
    "BothWaysStates",
    "RecurrentStates",
    "SelfAttentionStates",
    "hidden_keys",
    "last_state",
    "newest_first",
]

Norm = Literal["pre", "post"]
Positions = Literal["learned", "sinusoidal", "relative"]
_BASE = 10_000.0
_STD = 0.02
_HIDDEN = -1e9
"""Added to the logits of what is not attended to: finite, so that attention to nothing at all is, too."""


def last_state(states: Tensor, mask: Tensor) -> Tensor:
    """`(B, D)` the state at the last real position, zero for an empty sequence; mask `(B, L)` 1 at real positions."""
    last = (mask.sum(1).long() - 1).clamp(min=0)
    # A product with an indicator instead of a gather: it exports to a graph that runs everywhere.
    steps = torch.arange(mask.shape[1], device=mask.device)
    picked = (steps.unsqueeze(0) == last.unsqueeze(1)).to(states.dtype) * mask
    return torch.bmm(picked.unsqueeze(1), states).squeeze(1)


def newest_first(vectors: Tensor, mask: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The newest positions of sequences, the newest of all first.

    Args:
        vectors: `(B, L, D)`, oldest first and padding last.
        mask: `(B, L)` true at real positions.
        length: M, of the result.

    Returns:
        `(B, M, D)`, zero at padding, and `(B, M)` true at real positions.
    """
    back = mask.sum(1, keepdim=True) - 1 - torch.arange(length, device=mask.device)
    real = back >= 0
    places = back.clamp(min=0).unsqueeze(-1).expand(-1, -1, vectors.shape[-1])
    return vectors.gather(1, places) * real.unsqueeze(-1), real


def hidden_keys(mask: Tensor) -> Tensor:
    """`(N, L)`, true at real positions, to the `(N, 1, 1, L)` by which `AttentionBlock` attends to no padding."""
    return torch.where(mask, 0.0, _HIDDEN).unsqueeze(1).unsqueeze(1)


class RecurrentStates(nn.Module):
    """GRU or LSTM (Cho 2014; Hochreiter 1997).

    Args:
        dim: D, of vectors and states.
        kind: `gru` or `lstm`.
        layers: on top of one another.
        dropout: between layers.
    """

    def __init__(
        self, dim: int, *, kind: Literal["gru", "lstm"] = "gru", layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
        self.cell = cell(dim, dim, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """`(B, L, D)` and `(B, L)` to `(B, L, D)`."""
        states: Tensor = self.cell(vectors)[0]
        return states


class BothWaysStates(nn.Module):
    """LSTMs from either end, their states added (Graves 2005; Feng 2019, equation 12).

    Args:
        dim: D, of vectors and states.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(dim, dim, batch_first=True)
        self.backwards = nn.LSTM(dim, dim, batch_first=True)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """`(B, L, D)` and `(B, L)`, true at real positions, to `(B, L, D)`; states at padding mean nothing."""
        length = vectors.shape[1]
        turned, _ = newest_first(vectors, mask, length)
        back, _ = newest_first(self.backwards(turned)[0], mask, length)
        states: Tensor = self.forwards(vectors)[0] + back
        return states


class SelfAttentionStates(nn.Module):
    """A causal transformer (Vaswani 2017; Kang 2018).

    Args:
        dim: D, of vectors and states.
        length: L, the longest sequence.
        blocks: attention and feed-forward layers on top of one another.
        heads: of each attention; divides `dim`.
        feed_forward: width within a block, as a multiple of `dim`.
        dropout: after attention and feed-forward layers.
        norm: `pre`: x + f(norm(x)), with a last norm; `post`: norm(x + f(x)).
        positions: `learned` and `sinusoidal` vectors are added; `relative` is a learned bias of the attention for each
            head and distance (Shaw 2018; Raffel 2020).
    """

    def __init__(
        self,
        dim: int,
        length: int,
        *,
        blocks: int = 2,
        heads: int = 2,
        feed_forward: int = 4,
        dropout: float = 0.0,
        norm: Norm = "pre",
        positions: Positions = "learned",
    ) -> None:
        super().__init__()
        self.scale = math.sqrt(dim)
        self.dropout = Dropout(dropout)
        self.learned = nn.Parameter(torch.randn(length, dim) * _STD) if positions == "learned" else None
        self.waves: Tensor | None
        self.register_buffer("waves", _waves(length, dim) if positions == "sinusoidal" else None, persistent=False)
        self.distance = nn.Parameter(torch.zeros(heads, length)) if positions == "relative" else None
        self.blocks = nn.ModuleList(AttentionBlock(dim, heads, feed_forward, dropout, norm) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)
        self.norm_first = norm == "pre"

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """`(B, L, D)` and `(B, L)`, 1 at real positions, to `(B, L, D)`."""
        length = vectors.shape[1]
        x = vectors * self.scale
        if self.learned is not None:
            x = x + self.learned[:length] * self.scale
        if self.waves is not None:
            x = x + self.waves[:length]
        x = self.dropout(x)
        if not self.norm_first:
            x = self.norm(x)
        bias = self._bias(length)
        for block in self.blocks:
            x = block(x, bias)
        states: Tensor = self.norm(x) if self.norm_first else x
        return states

    def _bias(self, length: int) -> Tensor:
        """`(1 or heads, L, L)` added to the attention's logits: −inf ahead of each position."""
        steps = torch.arange(length, device=self.norm.weight.device)
        back = steps.unsqueeze(1) - steps.unsqueeze(0)
        bias = torch.zeros_like(back, dtype=self.norm.weight.dtype).unsqueeze(0)
        if self.distance is not None:
            bias = self.distance[:, back.clamp(min=0)]
        return bias.masked_fill((back < 0).unsqueeze(0), float("-inf"))


class AttentionBlock(nn.Module):
    """Multi-head self-attention and a feed-forward layer, each added to its input (Vaswani 2017, section 3.1).

    Args:
        dim: D, of vectors.
        heads: of the attention; divides `dim`.
        feed_forward: width of the hidden layer, as a multiple of `dim`.
        dropout: after either.
        norm: see `SelfAttentionStates`.
    """

    def __init__(self, dim: int, heads: int, feed_forward: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.heads = heads
        self.norm_first = norm == "pre"
        self.attention_norm = nn.LayerNorm(dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.project = Linear(dim, 3 * dim)
        self.join = Linear(dim, dim)
        self.feed = nn.Sequential(
            Linear(dim, feed_forward * dim), nn.GELU(), Dropout(dropout), Linear(feed_forward * dim, dim)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`(N, L, D)` and what is added to the attention's logits, broadcast to `(N, heads, L, L)`, to `(N, L, D)`."""
        if self.norm_first:
            x = x + self.dropout(self._attended(self.attention_norm(x), bias))
            x = x + self.dropout(self.feed(self.feed_norm(x)))
        else:
            x = self.attention_norm(x + self.dropout(self._attended(x, bias)))
            x = self.feed_norm(x + self.dropout(self.feed(x)))
        return x

    def _attended(self, x: Tensor, bias: Tensor) -> Tensor:
        size = x.shape[-1] // self.heads
        parts = self.project(x).unflatten(-1, (3, self.heads, size)).permute(2, 0, 3, 1, 4)
        heads = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=bias)
        joined: Tensor = self.join(heads.transpose(1, 2).flatten(2))
        return joined


def _waves(length: int, dim: int) -> Tensor:
    """`(L, D)` sines and cosines of positions (Vaswani 2017, section 3.5)."""
    rate = _BASE ** (-torch.arange(0, dim, 2) / dim)
    angles = torch.arange(length).unsqueeze(1) * rate
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim]
