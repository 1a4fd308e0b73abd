"""The pairs of candidates of a request of which one is to stand above the other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.losses.base import Lists

__all__ = ["Pairs", "pairs_of"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """W winners of each of N lists, and L losers of each winner: candidates with a smaller label.

    Attributes:
        winner: `(N, W)` position in the list.
        loser: `(N, W, L)` position in the list.
        real: `(N, W, L)` bool, which of them are pairs.
    """

    winner: Tensor
    loser: Tensor
    real: Tensor

    def winners(self, values: Tensor) -> Tensor:
        """`(N, W, 1)` what the winners have of `(N, C)` values."""
        return values.gather(1, self.winner).unsqueeze(-1)

    def losers(self, values: Tensor) -> Tensor:
        """`(N, W, L)` what the losers have of `(N, C)` values."""
        return values.unsqueeze(1).expand(-1, self.winner.shape[1], -1).gather(2, self.loser)

    def gaps(self, scores: Tensor) -> Tensor:
        """`(N, W, L)` by how much winners are above losers."""
        return self.winners(scores) - self.losers(scores)

    def entries(self, values: Tensor, width: int) -> Tensor:
        """`(N, C)` the sum of `(N, W, L)` values over the pairs that each candidate wins."""
        won = torch.where(self.real, values, 0.0).sum(dim=2)
        return won.new_zeros(len(won), width).scatter(1, self.winner, won)

    def shares(self, lists: Lists) -> Tensor:
        """`(N, C)` the share of its list's pairs that each candidate wins."""
        won = self.entries(torch.ones_like(self.real, dtype=lists.scores.dtype), lists.scores.shape[1])
        return won / won.sum(dim=1, keepdim=True).clamp(min=1)


def pairs_of(lists: Lists, hardest: int | None = None) -> Pairs:
    """All pairs with different labels.

    Only candidates that win any are looked at: a few of hundreds, where few are positive.

    Args:
        lists: N of them, of C candidates.
        hardest: of each winner only so many losers, those with the highest scores.
    """
    lowest = torch.where(lists.real, lists.labels, torch.inf).amin(dim=1, keepdim=True)
    wins = lists.real & (lists.labels > lowest)
    most = int(wins.sum(dim=1).max())
    winner = wins.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    below = lists.labels.gather(1, winner).unsqueeze(-1) > lists.labels.unsqueeze(1)
    real = below & lists.real.unsqueeze(1) & wins.gather(1, winner).unsqueeze(-1)
    width = lists.scores.shape[1]
    if hardest is None or hardest >= width:
        return Pairs(winner, torch.arange(width, device=winner.device).expand(real.shape), real)
    scores = lists.scores.detach().unsqueeze(1).expand(real.shape)
    loser = torch.where(real, scores, torch.finfo(scores.dtype).min).topk(hardest, dim=2).indices
    return Pairs(winner, loser, real.gather(2, loser))
