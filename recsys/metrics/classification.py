"""How well scores separate positive rows from negative ones.

Shapes, the same for every metric: `labels` is `(N,)`, 0 or 1 (bool or number); `scores` or `logits` is `(N,)`, infinite
if need be but never NaN. A value over all rows at once: the mean of the AUC over batches is not the AUC.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["auc", "calibration_error", "gauc", "logloss", "precision_recall"]

Numbers = NDArray[np.bool_ | np.number]


def auc(labels: Numbers, scores: Numbers) -> float:
    """The chance that a random positive scores higher than a random negative; a tie counts half.

    The Mann–Whitney statistic from average ranks (Hanley & McNeil, Radiology 1982).

    Returns:
        A value in [0, 1]; NaN when a class is missing.

    Raises:
        ValueError: a score is NaN.

    Example:
        >>> auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.9]))
        0.875
    """
    return gauc(labels, scores, np.zeros(len(labels), dtype=np.int8))


def gauc(labels: Numbers, scores: Numbers, groups: NDArray[np.generic]) -> float:
    """The mean AUC within groups, weighted by their rows (Zhou et al., Deep Interest Network, KDD 2018, equation 7).

    Answers whether the rows of one user or one request are in the right order, whatever the level of their scores.

    Args:
        labels: `(N,)`.
        scores: `(N,)`.
        groups: `(N,)` user or request of each row, in any order. Groups of one class say nothing and are left out.

    Returns:
        A value in [0, 1]; NaN when no group has both classes.

    Raises:
        ValueError: a score is NaN.

    Example:
        >>> gauc(np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.2, 0.9, 0.8, 0.7]), np.array([1, 1, 2, 2, 3]))
        0.5
    """
    positive = np.asarray(labels) > 0
    _, group, rows = np.unique(groups, return_inverse=True, return_counts=True)
    hits = np.bincount(group, weights=positive, minlength=len(rows))
    pairs = hits * (rows - hits)
    mixed = pairs > 0
    if not mixed.any():
        return float("nan")
    ranks = np.bincount(group, weights=_ranks_within(group, scores) * positive, minlength=len(rows))
    values = (ranks[mixed] - hits[mixed] * (hits[mixed] + 1) / 2) / pairs[mixed]
    return float(np.average(values, weights=rows[mixed]))


def logloss(labels: Numbers, logits: Numbers) -> float:
    """Mean negative log-likelihood of the labels under `sigmoid(logits)`, in nats.

    Computed from logits, so that a confident model is never log(0): `max(x, 0) − x·y + log(1 + e^−|x|)`. Logits beyond
    ±1e30 (an item the ranker overflowed on) count as ±1e30.

    Returns:
        A value ≥ 0; NaN without rows.

    Example:
        >>> round(logloss(np.array([1, 0]), np.array([0.0, 0.0])), 4)
        0.6931
    """
    if not len(labels):
        return float("nan")
    x = np.clip(np.asarray(logits, dtype=np.float64), -1e30, 1e30)
    return float(np.mean(np.maximum(x, 0) - x * np.asarray(labels) + np.log1p(np.exp(-np.abs(x)))))


def calibration_error(labels: Numbers, probabilities: Numbers, *, bins: int = 15) -> float:
    """How far probabilities are from how often they come true: Σ_b n_b / n · |mean label − mean probability| of bin b.

    Bins of about equally many rows (Nguyen and O'Connor 2015, section 3): the probabilities of clicks crowd near 0,
    where bins of equal width would see one number. Equal probabilities share a bin.

    Args:
        labels: `(N,)`.
        probabilities: `(N,)` in [0, 1].
        bins: at most.

    Returns:
        A value in [0, 1]; NaN without rows.

    Example:
        >>> calibration_error(np.array([0, 1, 1, 1]), np.array([0.25, 0.25, 0.75, 0.75]), bins=2)
        0.25
    """
    if not len(labels):
        return float("nan")
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels) > 0
    edges = np.percentile(p, 100 * np.linspace(0, 1, bins + 1)[1:-1])
    place = np.searchsorted(edges, p)
    gaps = np.bincount(place, weights=y, minlength=bins) - np.bincount(place, weights=p, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def precision_recall(labels: Numbers, said: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of positives among the rows that got a yes, and share of the positives that did; NaN where there are none.

    Args:
        labels: `(N,)`.
        said: `(N,)` whether a row got a yes.

    Example:
        >>> precision_recall(np.array([0, 1, 1]), np.array([True, True, False]))
        (0.5, 0.5)
    """
    positive = np.asarray(labels) > 0
    right, yes, positives = int((positive & said).sum()), int(said.sum()), int(positive.sum())
    return right / yes if yes else float("nan"), right / positives if positives else float("nan")


def _ranks_within(group: NDArray[np.intp], scores: Numbers) -> NDArray[np.float64]:
    """`(N,)` rank from 1 of each row among the rows of its group, the average for ties."""
    if np.isnan(scores).any():
        raise ValueError("scores: hold NaN, which has no place in an order; look for the model that made it")
    order = np.lexsort((scores, group))
    sorted_group, sorted_scores = group[order], scores[order]
    new_group = np.diff(sorted_group, prepend=-1) != 0
    new_tie = new_group | np.concatenate([[True], sorted_scores[1:] != sorted_scores[:-1]])
    position = np.arange(len(order))
    group_start = np.maximum.accumulate(np.where(new_group, position, 0))
    tie_start = np.flatnonzero(new_tie)
    tie_end = np.append(tie_start[1:], len(order))
    tie = np.cumsum(new_tie) - 1
    ranks = np.empty(len(order))
    ranks[order] = (tie_start[tie] + tie_end[tie] + 1) / 2 - group_start
    return ranks
