"""A history's vectors made into one."""

import math

import torch
from torch import Tensor, nn

__all__ = ["DecayPooling"]


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
