"""Ranking metrics of binary relevance: one value a query, never aggregated here.

`hits` `(Q, K)` is true where the item at that rank is a positive, best first, K at least k unless the list ran out;
`n_positives` `(Q,)` counts each query's positives, at least 1. Values are float64 in [0, 1].
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["hit_rate_at_k", "map_at_k", "mrr_at_k", "ndcg_at_k", "recall_at_k", "relevance"]

Hits = NDArray[np.bool_]
Counts = NDArray[np.integer]
Values = NDArray[np.float64]


def relevance(codes: NDArray[np.int32], offsets: NDArray[np.int64], positives: NDArray[np.int32]) -> Hits:
    """`(Q, K)` whether each listed item is among its query's positives.

    Args:
        codes: `(Q, K)` item codes, −1 pads.
        offsets: `(Q + 1,)` where each query's positives begin.
        positives: item codes.

    Example:
        >>> relevance(np.array([[7, 3, -1]], np.int32), np.array([0, 2]), np.array([1, 3], np.int32)).tolist()
        [[False, True, False]]
    """
    width = np.int64(max(codes.max(initial=0), positives.max(initial=0)) + 2)
    owner = np.repeat(np.arange(len(codes), dtype=np.int64), np.diff(offsets))
    wanted = np.arange(len(codes), dtype=np.int64)[:, None] * width + codes
    return np.isin(wanted, owner * width + positives) & (codes >= 0)


def recall_at_k(hits: Hits, n_positives: Counts, k: int) -> Values:
    """Share of the positives among the first k."""
    return np.asarray(hits[:, :k].sum(axis=1) / n_positives)


def ndcg_at_k(hits: Hits, n_positives: Counts, k: int) -> Values:
    """Σ 1/log2(1 + rank) over the hits, over the same of a perfect list (Järvelin 2002).

    Example:
        >>> ndcg_at_k(np.array([[False, True]]), np.array([1]), 2)[0] == 1 / np.log2(3)
        np.True_
    """
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    found = hits[:, :k] @ gains[: hits.shape[1]]
    ideal = np.concatenate([[0.0], np.cumsum(gains)])
    return np.asarray(found / ideal[np.minimum(n_positives, k)])


def hit_rate_at_k(hits: Hits, n_positives: Counts, k: int) -> Values:
    """1 where any of the first k is a positive."""
    return hits[:, :k].any(axis=1).astype(np.float64)


def mrr_at_k(hits: Hits, n_positives: Counts, k: int) -> Values:
    """1 over the rank of the first hit, 0 without one among the first k."""
    first = hits[:, :k].argmax(axis=1)
    return np.where(hits[:, :k].any(axis=1), 1.0 / (first + 1), 0.0)


def map_at_k(hits: Hits, n_positives: Counts, k: int) -> Values:
    """Mean precision at the ranks of the hits, over as many positives as a list of k can hold."""
    cut = hits[:, :k]
    precision = np.cumsum(cut, axis=1) / np.arange(1, cut.shape[1] + 1)
    return np.asarray((precision * cut).sum(axis=1) / np.minimum(n_positives, k))
