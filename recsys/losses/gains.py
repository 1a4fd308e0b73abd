"""Normalised discounted cumulative gain of lists (Järvelin & Kekäläinen 2002), as losses need it."""

import math
from typing import Literal

import torch
from torch import Tensor

from recsys.losses.base import Lists

__all__ = ["Gain", "best_sum", "discounts", "gains", "ranks"]

Gain = Literal["exponential", "linear"]


def gains(lists: Lists, kind: Gain) -> Tensor:
    """`(N, C)` what each candidate is worth, 0 at padding: 2^y − 1, or y; times a factor for each list.

    The factor of exponential gains is 2^−max y: a gain of 2^300 would be infinite, and only shares are ever asked for.
    """
    if kind == "linear":
        return lists.labels
    top = lists.labels.amax(dim=1, keepdim=True)
    return torch.exp2(lists.labels - top) * -torch.expm1(-math.log(2) * lists.labels)


def discounts(ranks: Tensor) -> Tensor:
    """1 / log2(1 + rank), ranks from 1, whole or not."""
    return 1 / torch.log2(1 + ranks)


def best_sum(gains: Tensor, k: int | None) -> Tensor:
    """`(N, 1)` the gain of the best order, the first `k` positions counting, and 1 where there is nothing to gain."""
    sizes = gains.sort(dim=1, descending=True).values[:, :k]
    best = (sizes * discounts(_positions(sizes))).sum(dim=1, keepdim=True)
    return torch.where(best > 0, best, 1.0)


def ranks(lists: Lists) -> Tensor:
    """`(N, C)` position of each candidate by its score, from 1, padding last.

    Of equal scores the one with the smaller label stands first: a model that scores all alike has everything to learn,
    and positives often come first in a list.
    """
    worst = torch.where(lists.real, lists.labels, torch.inf).argsort(dim=1, stable=True)
    scores = torch.where(lists.real, lists.scores.detach(), torch.finfo(lists.scores.dtype).min).gather(1, worst)
    order = worst.gather(1, scores.argsort(dim=1, descending=True, stable=True))
    return torch.empty_like(lists.scores).scatter(1, order, _positions(lists.scores))


def _positions(values: Tensor) -> Tensor:
    """1, 2, 3 … along the lists."""
    return torch.arange(1, values.shape[1] + 1, device=values.device, dtype=values.dtype).expand_as(values)
