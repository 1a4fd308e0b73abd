"""Interests: how much each concerns a candidate, and how they evolve towards it."""

import math

import torch
from torch import Tensor, nn

from recsys.nn.linear import Linear

__all__ = ["AttentionalGRU", "InterestAttention"]


class InterestAttention(nn.Module):
    """How much each interest has to do with a candidate: softmax over the history of h·W·q.

    Zhou 2019, equation 6; Feng 2019, equations 13 and 14.

    Args:
        states: H, length of an interest.
        query: K, length of a candidate's vector.
    """

    def __init__(self, states: int, query: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(query, states))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, query: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """`(B, C, K)`, `(B, L, H)` and `(B, L)`, true at real positions, to `(B, C, L)`: 0 at padding."""
        scores = (query @ self.weight) @ states.transpose(1, 2)
        shares = torch.where(mask.unsqueeze(1), scores, -1e9).softmax(dim=-1)
        return shares * mask.unsqueeze(1)


class AttentionalGRU(nn.Module):
    """A GRU whose update gate is scaled by attention: AUGRU (Zhou 2019, equations 2 to 5 and 7).

    u' = a·u and h' = (1 − u')∘h + u'∘tanh(W·i + r∘(U·h) + b): where a is 0, the state stays as it is. What depends on
    the inputs alone is computed once a request, and not for each candidate.

    Args:
        inputs: H, length of an input.
        dim: D, of the state.
    """

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.outside = Linear(inputs, 3 * dim)
        self.inside = Linear(dim, 3 * dim, bias=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(dim), 1 / math.sqrt(dim))

    def forward(self, inputs: Tensor, attention: Tensor) -> Tensor:
        """`(B, L, H)` and `(B, C, L)` in [0, 1] to the last states `(B, C, D)`, from zero."""
        outside = self.outside(inputs)
        state = torch.zeros((*attention.shape[:2], outside.shape[-1] // 3), device=inputs.device)
        # All steps at once by unbind: the gradient of one taken alone would be as large as that of all.
        for given, share in zip(outside.unsqueeze(2).unbind(1), attention.unsqueeze(-1).unbind(2), strict=True):
            reset, update, new = given.chunk(3, dim=-1)
            reset_in, update_in, new_in = self.inside(state).chunk(3, dim=-1)
            update = share * torch.sigmoid(update + update_in)
            proposed = torch.tanh(new + torch.sigmoid(reset + reset_in) * new_in)
            state = state + update * (proposed - state)
        return state
