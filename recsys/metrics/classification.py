"""How well scores tell positives from negatives."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["auc", "gauc", "logloss"]

Values = NDArray[np.floating]
Labels = NDArray[np.generic]


def auc(labels: Labels, scores: Values) -> float:
    """Chance that a positive scores above a negative, ties counting half (Mann and Whitney 1947).

    Args:
        labels: `(n,)` true or 1 for positives.
        scores: `(n,)`.

    Returns:
        In [0, 1]; NaN when either class is missing.

    Example:
        >>> auc(np.array([1, 0, 0]), np.array([0.9, 0.1, 0.9]))
        0.75
    """
    groups = np.zeros(len(scores), dtype=np.int64)
    return float(_auc_by_group(np.asarray(labels, dtype=bool), np.asarray(scores), groups, 1)[0])


def gauc(labels: Labels, scores: Values, groups: NDArray[np.integer]) -> float:
    """Mean AUC of the groups, weighted by their rows (Zhou 2018, section 6.2); groups of one class are left out.

    Args:
        labels: `(n,)` true or 1 for positives.
        scores: `(n,)`.
        groups: `(n,)` whose row it is: a user or a request.

    Returns:
        In [0, 1]; NaN when every group has only one class.
    """
    _, group = np.unique(groups, return_inverse=True)
    counts = np.bincount(group)
    found = _auc_by_group(np.asarray(labels, dtype=bool), np.asarray(scores), group, len(counts))
    mixed = np.isfinite(found)
    return float(np.average(found[mixed], weights=counts[mixed])) if mixed.any() else float("nan")


def logloss(labels: Labels, logits: Values) -> float:
    """Mean −y·log σ(s) − (1 − y)·log σ(−s) of logits, in nats."""
    sign = np.where(np.asarray(labels, dtype=bool), -1.0, 1.0)
    return float(np.logaddexp(0.0, sign * np.asarray(logits, dtype=np.float64)).mean())


def _auc_by_group(
    labels: NDArray[np.bool_], scores: Values, groups: NDArray[np.int64], n_groups: int
) -> NDArray[np.float64]:
    """`(G,)` AUC of each group from mid-ranks; NaN where a class is missing."""
    order = np.lexsort((scores, groups))
    group, value, positive = groups[order], scores[order], labels[order]
    sizes = np.bincount(group, minlength=n_groups)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1.0
    # Equal scores of a group share the mean of their ranks.
    new = np.ones(len(order), dtype=bool)
    new[1:] = (group[1:] != group[:-1]) | (value[1:] != value[:-1])
    tie = np.cumsum(new) - 1
    middle = (np.bincount(tie, weights=rank) / np.bincount(tie))[tie] if len(order) else rank
    positives = np.bincount(group, weights=positive, minlength=n_groups)
    total = np.bincount(group, weights=middle * positive, minlength=n_groups)
    pairs = positives * (sizes - positives)
    above = total - positives * (positives + 1) / 2
    found: NDArray[np.float64] = np.divide(above, pairs, out=np.full(n_groups, np.nan), where=pairs > 0)
    return found
