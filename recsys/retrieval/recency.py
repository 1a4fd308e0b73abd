"""How much each item of a request's history counts."""

import numpy as np
from scipy import sparse

from recsys.features.batch import QueryBatch

__all__ = ["recent_weights"]


def recent_weights(queries: QueryBatch, n_items: int, history: int, decay: float) -> sparse.csr_matrix:
    """`(B, N)` decay^(steps back) at the recent items of each request; an item seen twice has both weights."""
    recent = queries.recent(min(history, queries.history.shape[1]))
    real = recent >= 0
    rows, columns = np.nonzero(real)
    back = np.minimum(queries.lengths, history)[rows] - 1 - columns
    weights = np.power(decay, back, dtype=np.float32)
    return sparse.csr_matrix((weights, (rows, recent[real])), shape=(len(queries), n_items))
