"""Swing: two items are alike when pairs of users who share them share little else (Yang 2020, section 3.2)."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.pairs import inverse_power
from recsys.recall.settings.neighbours import SwingConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.neighbours import NeighboursRetriever

__all__ = ["fit"]


def fit(config: SwingConfig, data: TrainingData, context: FitContext) -> Retriever:
    """W[i, j] = Σ_{u < v, both have i and j} w_u · w_v / (alpha + items they share), w_u = items_u^−user_penalty.

    Over (count_i · count_j)^popularity_penalty; the best `neighbours` of each row are kept, ties to the smaller code.
    Takes memory for N · neighbours weights, and time in N · max_users² · (items of a user).
    """
    seen = data.seen()
    sizes = np.diff(seen.indptr)
    seen = sparse.csr_array(sparse.diags_array((sizes <= config.max_items).astype(np.float64)) @ seen)
    seen.eliminate_zeros()
    seen.sort_indices()
    rows = _shuffled_users(seen, np.random.default_rng(context.seed))
    share = inverse_power(np.diff(seen.indptr), config.user_penalty)
    scale = inverse_power(data.counts, config.popularity_penalty)
    kept: Any = _swing(
        seen.indptr.astype(np.int64),
        seen.indices.astype(np.int64),
        rows.indptr.astype(np.int64),
        rows.indices.astype(np.int64),
        share,
        scale,
        config.alpha,
        config.max_users,
        min(config.neighbours, data.n_items),
    )
    codes, values = kept
    real = codes >= 0
    where = (np.nonzero(real)[0], codes[real])
    weights = sparse.csr_matrix((values[real], where), shape=(data.n_items, data.n_items), dtype=np.float32)
    return NeighboursRetriever(weights, query_decay=config.query_decay, history=config.history)


def _shuffled_users(seen: sparse.csr_array, rng: np.random.Generator) -> sparse.csr_array:
    """`(N, U)` the users of each item in random order: the first `max_users` are a fair draw."""
    pairs = seen.tocoo()
    order = np.lexsort((rng.random(len(pairs.row)), pairs.col))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pairs.col, minlength=seen.shape[1]))])
    shape = (seen.shape[1], seen.shape[0])
    return sparse.csr_array((np.ones(len(order)), pairs.row[order], offsets), shape=shape)


@numba.njit(nogil=True)
def _swing(
    user_offsets: NDArray[np.int64],
    user_items: NDArray[np.int64],
    item_offsets: NDArray[np.int64],
    item_users: NDArray[np.int64],
    share: NDArray[np.float64],
    scale: NDArray[np.float64],
    alpha: float,
    max_users: int,
    neighbours: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`(N, neighbours)` codes, −1 where there are fewer, and weights."""
    n_items = len(item_offsets) - 1
    codes = np.full((n_items, neighbours), -1, np.int64)
    values = np.zeros((n_items, neighbours))
    total = np.zeros(n_items)
    marked = np.full(n_items, -1, np.int64)
    stamp = 0
    for item in range(n_items):
        begin = item_offsets[item]
        end = min(item_offsets[item + 1], begin + max_users)
        for first in range(begin, end - 1):
            one = item_users[first]
            stamp += 1
            for at in range(user_offsets[one], user_offsets[one + 1]):
                marked[user_items[at]] = stamp
            for second in range(first + 1, end):
                other = item_users[second]
                common = 0
                for at in range(user_offsets[other], user_offsets[other + 1]):
                    common += marked[user_items[at]] == stamp
                if common < 2:
                    continue
                weight = share[one] * share[other] / (alpha + common)
                for at in range(user_offsets[other], user_offsets[other + 1]):
                    if marked[user_items[at]] == stamp:
                        total[user_items[at]] += weight
        total[item] = 0.0
        touched = np.flatnonzero(total)
        weights = total[touched] * scale[touched] * scale[item]
        # Items ascend, so a stable sort gives ties to the smaller code.
        best = np.argsort(-weights, kind="mergesort")[:neighbours]
        codes[item, : len(best)] = touched[best]
        values[item, : len(best)] = weights[best]
        total[touched] = 0.0
    return codes, values
