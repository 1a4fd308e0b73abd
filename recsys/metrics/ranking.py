"""How well a list of items answers a request, one value a request.

Shapes, the same for every metric: `hits` is `(Q, K)` bool, whether the item at each position of the list is a positive
of its request, best position first, each positive at most once; `n_positives` is `(Q,)`, how many positives the request
has in all, found or not; `k` is how many positions count. A list shorter than `k` counts as padded with misses. The
result is `(Q,)` float64 in [0, 1], unaggregated, so that means, intervals and slices are taken by the caller. A request
without positives gets 0; leave such requests out before averaging.

Positives are binary: relevant or not. Lists come from the whole catalogue, never from sampled negatives, which reorder
systems (Krichene & Rendle, KDD 2020).
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mask", "RankingMetric", "hit_rate_at_k", "map_at_k", "mrr_at_k", "ndcg_at_k", "recall_at_k", "relevance"]

Mask = NDArray[np.bool_]
Values = NDArray[np.float64]
Integers = NDArray[np.integer]


class RankingMetric(Protocol):
    """A metric of this family; see the module."""

    def __call__(self, hits: Mask, n_positives: Integers, k: int) -> Values:
        """`(Q,)` float64, one value a request."""


def relevance(codes: Integers, offsets: Integers, positives: Integers) -> Mask:
    """Whether each item of each list is a positive of its request.

    Args:
        codes: `(Q, K)` item codes, each at most once a row, padded with −1.
        offsets: `(Q + 1,)` where each request's positives begin.
        positives: item codes ≥ 0 of all requests, one after the other.

    Returns:
        `(Q, K)` bool; −1 never is a positive.

    Example:
        >>> relevance(np.array([[7, 3, -1], [5, 7, 2]]), np.array([0, 1, 3]), np.array([7, 2, 5]))
        array([[ True, False, False],
               [ True, False,  True]])
    """
    if not codes.size or not positives.size:
        return np.zeros(codes.shape, dtype=bool)
    width = np.int64(max(codes.max(), positives.max())) + 2
    rows = np.arange(len(codes), dtype=np.int64)
    wanted = np.sort(np.repeat(rows, np.diff(offsets)) * width + positives)
    keys = rows[:, None] * width + codes
    at = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    found: Mask = (wanted[at] == keys) & (codes >= 0)
    return found


def recall_at_k(hits: Mask, n_positives: Integers, k: int) -> Values:
    """Share of the request's positives that the first `k` positions hold.

    Example:
        >>> recall_at_k(np.array([[True, False, True]]), np.array([4]), k=2)
        array([0.25])
    """
    return _share(_first(hits, k).sum(axis=1), n_positives)


def hit_rate_at_k(hits: Mask, n_positives: Integers, k: int) -> Values:
    """1 where the first `k` positions hold a positive, else 0.

    Example:
        >>> hit_rate_at_k(np.array([[False, True], [False, False]]), np.array([1, 1]), k=2)
        array([1., 0.])
    """
    found: Mask = np.any(_first(hits, k), axis=1)
    return found.astype(np.float64)


def mrr_at_k(hits: Mask, n_positives: Integers, k: int) -> Values:
    """One over the position (from 1) of the first positive among the first `k`; 0 where there is none.

    Example:
        >>> mrr_at_k(np.array([[False, True], [False, False]]), np.array([1, 1]), k=2)
        array([0.5, 0. ])
    """
    first = _first(hits, k)
    if not first.shape[1]:
        return np.zeros(len(first))
    found: Mask = np.any(first, axis=1)
    return _share(found, first.argmax(axis=1) + 1)


def ndcg_at_k(hits: Mask, n_positives: Integers, k: int) -> Values:
    """Normalised discounted cumulative gain with binary gain (Järvelin & Kekäläinen, TOIS 2002).

    A positive at position p gains 1 / log2(p + 1); the ideal list has min(k, n) positives at its top.

    Example:
        >>> ndcg_at_k(np.array([[False, True]]), np.array([1]), k=2).round(4)
        array([0.6309])
    """
    first = _first(hits, k)
    ideal = np.concatenate([[0.0], np.cumsum(_discounts(k))])
    # No matrix product: BLAS rounds a row by its place in the batch.
    gain: Values = (first * _discounts(first.shape[1])).sum(axis=1)
    return _share(gain, ideal[np.minimum(n_positives, k)])


def map_at_k(hits: Mask, n_positives: Integers, k: int) -> Values:
    """Average precision: the precision at each found positive's position, summed and divided by min(k, n).

    Dividing by min(k, n) rather than by n lets a perfect list of `k` reach 1 when there are more positives than places.

    Example:
        >>> map_at_k(np.array([[True, False, True]]), np.array([2]), k=3).round(4)
        array([0.8333])
    """
    first = _first(hits, k)
    precision = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    return _share((precision * first).sum(axis=1), np.minimum(n_positives, k))


def _first(hits: Mask, k: int) -> Mask:
    if k < 1:
        raise ValueError(f"k: {k} is not a list length; expected at least 1")
    return hits[:, :k]


def _share(part: NDArray[np.bool_ | np.number], whole: NDArray[np.number]) -> Values:
    """`part / whole`, 0 where the whole is 0."""
    result: Values = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return result


def _discounts(count: int) -> Values:
    return 1.0 / np.log2(np.arange(count, dtype=np.float64) + 2.0)
