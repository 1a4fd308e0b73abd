"""Losses that are 1 − NDCG, with ranks made smooth. The contract: `recsys.losses.base`.

Weights multiply gains (Agarwal 2019, section 3), and a request counts the mean weight of its gains. Its loss is told by
its entries, each by its share of the gains.
"""

from functools import partial

import torch
from torch import Tensor

from recsys.losses.base import Lists, Reduction, by_list
from recsys.losses.gains import Gain, best_sum, discounts, gains

__all__ = ["approx_ndcg", "neural_ndcg"]


def approx_ndcg(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    gain: Gain = "exponential",
) -> Tensor:
    """1 − NDCG with ranks 1 + Σ_j σ((s_j − s_i) / τ) (Qin 2010, equations 9 and 13).

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        temperature: τ; the smaller, the truer are the ranks, and the fewer candidates have a gradient.
        gain: 2^y − 1, or y itself.

    >>> loss = approx_ndcg(torch.tensor([[0.0, 99.0]]), torch.tensor([[1.0, 0.0]]))  # second: 1 − 1 / log2(3)
    >>> round(float(loss), 4)
    0.3691
    """
    judge = partial(_approx, temperature=temperature, gain=gain)
    return by_list(judge, scores, labels, mask, weight, reduction, cells=scores.shape[1])


def neural_ndcg(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    gain: Gain = "exponential",
    k: int | None = None,
    iterations: int = 20,
) -> Tensor:
    """1 − NDCG with gains sorted by a smooth permutation matrix (Pobrotyn & Białobrzeski 2021, section 3).

    The matrix is NeuralSort's (Grover 2019, equation 6), whose rows sum to 1, scaled until its columns do, too. Costs
    `iterations` times as much as `approx_ndcg`.

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        temperature: τ of NeuralSort; the smaller, the nearer is the matrix to a permutation.
        gain: 2^y − 1, or y itself.
        k: so many positions count; `None`: all.
        iterations: of the scaling (Sinkhorn 1964). The loss may be below 0 by what is left to scale.

    >>> loss = neural_ndcg(torch.tensor([[0.0, 99.0]]), torch.tensor([[1.0, 0.0]]))  # second: 1 − 1 / log2(3)
    >>> round(float(loss), 4)
    0.3691
    """
    judge = partial(_neural, temperature=temperature, gain=gain, k=k, iterations=iterations)
    return by_list(judge, scores, labels, mask, weight, reduction, cells=scores.shape[1] * (2 * iterations + 2))


def _approx(lists: Lists, temperature: float, gain: Gain) -> tuple[Tensor, Tensor]:
    scores = lists.scores / temperature
    above = (scores.unsqueeze(1) - scores.unsqueeze(2)).sigmoid() * lists.real.unsqueeze(1)
    # Everything is half above itself.
    ranks = 0.5 + above.sum(dim=2)
    worth = gains(lists, gain) * lists.weight
    found = (worth * discounts(ranks)).sum(dim=1, keepdim=True) / best_sum(worth, None)
    return _by_gain(1 - found, lists, gain)


def _neural(lists: Lists, temperature: float, gain: Gain, k: int | None, iterations: int) -> tuple[Tensor, Tensor]:
    worth = gains(lists, gain) * lists.weight
    places = torch.arange(1, worth.shape[1] + 1, device=worth.device, dtype=worth.dtype)
    counted = discounts(places) * (places <= (k or len(places)))
    sorted_gains = (_permutation(lists, temperature, iterations) * worth.unsqueeze(1)).sum(dim=2)
    found = (sorted_gains * counted).sum(dim=1, keepdim=True) / best_sum(worth, k)
    return _by_gain(1 - found, lists, gain)


def _permutation(lists: Lists, temperature: float, iterations: int) -> Tensor:
    """`(N, C, C)` nearly doubly stochastic: by position, by candidate; 0 beyond the real ones."""
    count = lists.real.sum(dim=1).view(-1, 1, 1)
    place = torch.arange(1, lists.scores.shape[1] + 1, device=lists.scores.device).view(1, -1, 1)
    inside = (place <= count) & lists.real.unsqueeze(1)
    lowest = torch.finfo(lists.scores.dtype).min
    apart = (lists.scores.unsqueeze(1) - lists.scores.unsqueeze(2)).abs() * lists.real.unsqueeze(2)
    logits = ((count + 1 - 2 * place) * lists.scores.unsqueeze(1) - apart.sum(dim=1, keepdim=True)) / temperature
    logs = torch.where(inside, torch.where(inside, logits, lowest).log_softmax(dim=2), lowest)
    for dim in (1, 2) * iterations:
        logs = torch.where(inside, logs - logs.logsumexp(dim=dim, keepdim=True), lowest)
    return torch.where(inside, logs.exp(), 0.0)


def _by_gain(losses: Tensor, lists: Lists, gain: Gain) -> tuple[Tensor, Tensor]:
    """`(N, 1)` losses of requests told by their entries, and what these count."""
    worth = gains(lists, gain)
    whole = worth.sum(dim=1, keepdim=True)
    total = worth * lists.weight / torch.where(whole > 0, whole, 1.0)
    differ = (torch.where(lists.real, worth, torch.inf).amin(dim=1, keepdim=True) < worth).any(dim=1, keepdim=True)
    total = total * differ
    return losses * total, total
