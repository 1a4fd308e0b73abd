"""How much each item of a request's history counts."""

import numpy as np
from scipy import sparse

from recsys.features.batch import QueryBatch

__all__ = ["recent_weights"]


def recent_weights(queries: QueryBatch, n_items: int, history: int, decay: float) -> sparse.csr_matrix:
    """`(B, N)` decay^(steps back) at the recent items of each request; an item seen twice has both weights."""
    recent = queries.recent(min(history, queries.history.shape[1]))
    real = recent >= 0
    kept = np.minimum(queries.lengths, history)
    back = kept[:, None] - 1 - np.arange(recent.shape[1])
    weights = np.power(decay, back[real], dtype=np.float32)
    offsets = np.concatenate([[0], np.cumsum(kept)])
    # Not by rows and columns, which would be sorted and summed: that takes longer than all the rest.
    return sparse.csr_matrix((weights, recent[real], offsets), shape=(len(queries), n_items))
