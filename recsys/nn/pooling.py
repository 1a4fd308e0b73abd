"""A history's vectors made into one."""

import math

import torch
from torch import Tensor, nn

from recsys.nn.linear import Linear

__all__ = ["AttentionPooling", "DecayPooling", "MeanPooling"]


class DecayPooling(nn.Module):
    """Weighted mean of past items whose weights depend on how far back they are, and are learned.

    The logarithm of the weight of an item p steps back starts at p·log(decay), so that training begins from an
    exponentially decayed mean.

    Args:
        length: L, the longest history.
        decay: initial weight of an item one step further back, in (0, 1].
    """

    def __init__(self, length: int, decay: float) -> None:
        super().__init__()
        self.log_weights = nn.Parameter(torch.arange(length) * math.log(decay))

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Pools `(B, L, D)` with mask `(B, L)`, 1 at real items, oldest first and padding last, to `(B, D)`.

        An empty history gives the mean of its padding vectors, which are zero.
        """
        steps = torch.arange(mask.shape[1], device=mask.device)
        back = (mask.sum(1, keepdim=True).long() - 1 - steps).clamp(min=0)
        weights = torch.where(mask > 0, self.log_weights[back], -1e9).softmax(dim=1)
        return torch.bmm(weights.unsqueeze(1), vectors).squeeze(1)


class MeanPooling(nn.Module):
    """The sum of past items over their number^power, 1 for the mean; zero for an empty history."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Pools `(B, L, D)` with mask `(B, L)`, 1 at real items, to `(B, D)`."""
        total = torch.bmm(mask.unsqueeze(1), vectors).squeeze(1)
        return total / mask.sum(1, keepdim=True).clamp(min=1) ** self.power


class AttentionPooling(nn.Module):
    """The mean of past items weighted by softmax of q·tanh(W·item): what a learned query finds in them.

    Bahdanau 2015, section 3.1, with a query that is the same for everybody; even weights at first.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.key = Linear(dim, dim)
        self.query = nn.Parameter(torch.zeros(dim))

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Pools `(B, L, D)` with mask `(B, L)`, 1 at real items, to `(B, D)`."""
        logits = torch.tanh(self.key(vectors)) @ self.query
        weights = torch.where(mask > 0, logits, -1e9).softmax(dim=1)
        return torch.bmm(weights.unsqueeze(1), vectors).squeeze(1)
