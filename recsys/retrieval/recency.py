"""How much each item of a request's history counts."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.features.batch import Codes, Floats, QueryBatch

__all__ = ["recent_items", "recent_weights"]


def recent_items(queries: QueryBatch, history: int, decay: float) -> tuple[Codes, Floats, NDArray[np.int64]]:
    """The recent items of all requests one after the other: codes, decay^(steps back), and where each request begins.

    Args:
        queries: B requests.
        history: how many of the last items count.
        decay: weight of an item one step further back.

    Returns:
        codes `(S,)`, weights `(S,)` and B + 1 offsets.
    """
    recent = queries.history if queries.history.shape[1] <= history else queries.recent(history)
    real = recent >= 0
    kept = np.minimum(queries.lengths, history)
    back = kept[:, None] - 1 - np.arange(recent.shape[1])
    weights: Floats = np.power(decay, back[real], dtype=np.float32)
    return recent[real], weights, np.concatenate([[0], np.cumsum(kept)])


def recent_weights(queries: QueryBatch, n_items: int, history: int, decay: float) -> sparse.csr_matrix:
    """`(B, N)` decay^(steps back) at the recent items of each request; an item seen twice has both weights."""
    items, weights, offsets = recent_items(queries, history, decay)
    # Not by rows and columns, which would be sorted and summed: that takes longer than all the rest.
    return sparse.csr_matrix((weights, items, offsets), shape=(len(queries), n_items))
