"""Losses that judge a request's candidates together, by likelihoods of orders. The contract: `recsys.losses.base`."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from recsys.losses.base import Lists, Reduction, by_list

__all__ = ["infonce", "listmle", "listnet", "softmax_cross_entropy"]


def softmax_cross_entropy(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """−y·log softmax(s / τ) over the candidates of a request, meaned over weight times label (Bruch 2019).

    Every positive counts alike, however many share its list; a list without one counts nothing. With identity labels
    this is the in-batch softmax of two-tower models.

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        temperature: τ.
        label_smoothing: share of a list's labels that is spread evenly over all its candidates.

    >>> loss = softmax_cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]]))
    >>> bool(loss == torch.tensor(4.0).log())
    True
    """
    judge = partial(_softmax, temperature=temperature, smoothing=label_smoothing)
    return by_list(judge, scores, labels, mask, weight, reduction)


def listnet(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
) -> Tensor:
    """−softmax(y / τ)·log softmax(s): cross-entropy of the chances to come first (Cao 2007, section 4.3).

    Labels are utilities here, 0 included: of many candidates the zeros together outweigh a few ones, unless the
    temperature is low. `softmax_cross_entropy` takes labels as shares instead.

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        temperature: τ of the labels; the smaller, the more the best of them count.

    >>> loss = listnet(torch.zeros(1, 4), torch.tensor([[1.0, 2.0, 0, 0]]))
    >>> bool(torch.isclose(loss, torch.tensor(4.0).log()))
    True
    """
    return by_list(partial(_listnet, temperature=temperature), scores, labels, mask, weight, reduction)


def listmle(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
) -> Tensor:
    """−ln of the likelihood of the labels' order, each candidate drawn before all below it (Xia 2008, section 4.2).

    Candidates with the same label do not compete: each is drawn from itself and those below its label. To break such
    ties by position, as sorting does, would teach the order in which candidates happen to stand; at random, that equal
    ones are to score alike. A request's loss is the mean over its candidates that have any below them.

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there; only their order counts.
        mask: see there.
        weight: see there.
        reduction: see there.
        temperature: scores are divided by it.

    >>> loss = listmle(torch.zeros(1, 3), torch.tensor([[2.0, 0.0, 1.0]]))  # (ln 3 + ln 2) / 2
    >>> bool(torch.isclose(loss, torch.tensor(6.0).log() / 2))
    True
    """
    return by_list(partial(_listmle, temperature=temperature), scores, labels, mask, weight, reduction)


def infonce(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
) -> Tensor:
    """−ln of a positive's share of itself and the request's negatives, Σ exp(s / τ) (van den Oord 2018, equation 4).

    Positives have a label above 0 and do not compete with each other. Meaned over weight times label, as
    `softmax_cross_entropy`; a list of positives or of negatives alone counts nothing.

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        temperature: τ.

    >>> loss = infonce(torch.zeros(1, 4), torch.tensor([[1.0, 1.0, 0, 0]]))
    >>> bool(torch.isclose(loss, torch.tensor(3.0).log()))
    True
    """
    return by_list(partial(_infonce, temperature=temperature), scores, labels, mask, weight, reduction)


def _softmax(lists: Lists, temperature: float, smoothing: float) -> tuple[Tensor, Tensor]:
    count = lists.real.sum(dim=1, keepdim=True).clamp(min=1)
    even = lists.labels.sum(dim=1, keepdim=True) / count * lists.real
    total = (lists.labels * (1 - smoothing) + even * smoothing) * lists.weight
    return -_log_shares(lists.scores / temperature, lists.real) * total, total


def _listnet(lists: Lists, temperature: float) -> tuple[Tensor, Tensor]:
    target = _log_shares(lists.labels / temperature, lists.real).exp() * lists.real
    lowest = torch.where(lists.real, lists.labels, torch.inf).amin(dim=1, keepdim=True)
    differ = (lists.labels > lowest).any(dim=1, keepdim=True)
    total = target * differ * lists.weight
    return -_log_shares(lists.scores, lists.real) * total, total


def _listmle(lists: Lists, temperature: float) -> tuple[Tensor, Tensor]:
    lowest = torch.finfo(lists.scores.dtype).min
    labels, order = torch.where(lists.real, lists.labels, -torch.inf).sort(dim=1, descending=True)
    scores = torch.where(lists.real, lists.scores / temperature, lowest).gather(1, order)
    # From the end: ln Σ exp of each and all that follow, and nothing after the last.
    tails = functional.pad(scores.flip(1).logcumsumexp(dim=1).flip(1), (0, 1), value=lowest)
    falling = (-labels).contiguous()
    after = torch.searchsorted(falling, falling, right=True)
    ends = lists.real.sum(dim=1, keepdim=True)
    losses = functional.softplus(tails.gather(1, after) - scores)
    judged = (after < ends).to(scores.dtype)
    shares = judged / judged.sum(dim=1, keepdim=True).clamp(min=1)
    total = torch.zeros_like(shares).scatter(1, order, shares) * lists.weight
    return torch.zeros_like(losses).scatter(1, order, losses) * total, total


def _infonce(lists: Lists, temperature: float) -> tuple[Tensor, Tensor]:
    positive = lists.labels > 0
    negative = lists.real & ~positive
    scores = lists.scores / temperature
    others = torch.where(negative, scores, torch.finfo(scores.dtype).min).logsumexp(dim=1, keepdim=True)
    total = lists.labels * positive * negative.any(dim=1, keepdim=True) * lists.weight
    return functional.softplus(others - scores) * total, total


def _log_shares(scores: Tensor, real: Tensor) -> Tensor:
    """`(N, C)` log softmax over the real candidates, 0 at the others."""
    # The lowest finite score, not −inf: a fully masked list must have a gradient of zero, not NaN.
    logs = torch.where(real, scores, torch.finfo(scores.dtype).min).log_softmax(dim=1)
    return torch.where(real, logs, 0.0)
