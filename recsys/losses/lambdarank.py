"""Pairs weighed by what it would do to NDCG to swap them. The contract: `recsys.losses.base`.

The weights come from the present scores and are constants to the gradient, which thus is LambdaRank's. Each request
whose labels differ counts 1.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from recsys.losses.base import Lists, Reduction, by_list
from recsys.losses.gains import Gain, best_sum, discounts, gains, ranks
from recsys.losses.pairs import Pairs, pairs_of

__all__ = ["Scheme", "lambda_loss", "lambdarank"]

Scheme = Literal["ndcg_loss1", "ndcg_loss2", "ndcg_loss2++"]


def lambdarank(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    sigmoid: float = 1.0,
    k: int | None = None,
    norm: bool = False,
    gain: Gain = "exponential",
) -> Tensor:
    """−|ΔNDCG_ij|·ln σ(σ·(s_i − s_j)) of all pairs with y_i > y_j (Burges 2006, section 6; Burges 2010, section 4).

    Summed over a request's pairs: the gradient of a request is LightGBM's of the same settings.

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        sigmoid: σ, steepness.
        k: only pairs count of which one stands among the first so many, and the best order's first so many make up its
            NDCG; `None`: all. LightGBM's `lambdarank_truncation_level`.
        norm: LightGBM's `lambdarank_norm`: a pair's weight is divided by .01 and its gap, and a request's gradients G
            in all become log2(1 + G), so that no request has much more to say than another.
        gain: 2^y − 1, or y itself.

    >>> loss = lambdarank(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))  # (1 − 1 / log2(3)) ln 2
    >>> round(float(loss), 4)
    0.2558
    """
    judge = partial(_judged, weigh=_swapped, sigmoid=sigmoid, k=k, norm=norm, gain=gain)
    return by_list(judge, scores, labels, mask, weight, reduction, cells=scores.shape[1])


def lambda_loss(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    scheme: Scheme = "ndcg_loss2++",
    mu: float = 10.0,
    sigmoid: float = 1.0,
    k: int | None = None,
    gain: Gain = "exponential",
) -> Tensor:
    """As `lambdarank`, with weights by which the loss bounds 1 − NDCG (Wang 2018, sections 5 and 6).

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        scheme: `ndcg_loss1`: G_i·d(r_i), d the discount of a rank r. `ndcg_loss2`: |G_i − G_j| times what a step
            from rank |r_i − r_j| to the next one costs, d(|r_i − r_j|) − d(|r_i − r_j| + 1). `ndcg_loss2++`: that times
            `mu`, and LambdaRank's weight.
        mu: with `ndcg_loss2++`.
        sigmoid: as in `lambdarank`.
        k: as in `lambdarank`.
        gain: 2^y − 1, or y itself.

    >>> loss = lambda_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), scheme="ndcg_loss2")  # as LambdaRank's
    >>> round(float(loss), 4)
    0.2558
    """
    weigh: dict[Scheme, _Weigh] = {
        "ndcg_loss1": _at_rank,
        "ndcg_loss2": _step,
        "ndcg_loss2++": lambda *found: mu * _step(*found) + _swapped(*found),
    }
    judge = partial(_judged, weigh=weigh[scheme], sigmoid=sigmoid, k=k, norm=False, gain=gain)
    return by_list(judge, scores, labels, mask, weight, reduction, cells=scores.shape[1])


_Weigh = Callable[[Pairs, Tensor, Tensor], Tensor]
"""Takes pairs, gains as shares of the best order's `(N, C)`, and ranks `(N, C)`; gives weights `(N, W, L)`."""


def _swapped(pairs: Pairs, worth: Tensor, places: Tensor) -> Tensor:
    return pairs.gaps(worth) * pairs.gaps(discounts(places)).abs()


def _at_rank(pairs: Pairs, worth: Tensor, places: Tensor) -> Tensor:
    return pairs.winners(worth * discounts(places)).expand(pairs.real.shape)


def _step(pairs: Pairs, worth: Tensor, places: Tensor) -> Tensor:
    # At least 1 among pairs; a candidate and itself, which are none, would divide by 0.
    apart = pairs.gaps(places).abs().clamp(min=1)
    return pairs.gaps(worth) * (discounts(apart) - discounts(apart + 1))


def _judged(
    lists: Lists, weigh: _Weigh, sigmoid: float, k: int | None, norm: bool, gain: Gain
) -> tuple[Tensor, Tensor]:
    pairs, places = pairs_of(lists), ranks(lists)
    gaps = sigmoid * pairs.gaps(lists.scores)
    with torch.no_grad():
        worth = gains(lists, gain)
        weights = torch.where(pairs.real, weigh(pairs, worth / best_sum(worth, k), places), 0.0)
        if k is not None:
            weights = weights * (torch.minimum(pairs.winners(places), pairs.losers(places)) <= k)
        if norm:
            weights = _normalised(weights, gaps / sigmoid, lists, sigmoid)
    width = lists.scores.shape[1]
    losses = pairs.entries(weights * functional.softplus(-gaps), width)
    return losses * lists.weight, pairs.shares(lists) * lists.weight


def _normalised(weights: Tensor, gaps: Tensor, lists: Lists, sigmoid: float) -> Tensor:
    """Weights as LightGBM's `lambdarank_norm` has them."""
    first = torch.where(lists.real, lists.scores, -torch.inf).amax(dim=1)
    last = torch.where(lists.real, lists.scores, torch.inf).amin(dim=1)
    weights = torch.where((first > last).view(-1, 1, 1), weights / (0.01 + gaps.abs()), weights)
    whole = 2 * sigmoid * (weights * torch.sigmoid(-sigmoid * gaps)).sum(dim=(1, 2), keepdim=True)
    return weights * torch.where(whole > 0, torch.log2(1 + whole) / torch.where(whole > 0, whole, 1.0), 1.0)
