"""Items that users have together: sparse item-to-item weights and their largest."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.recall.base import TrainingData

__all__ = ["BLOCK", "inverse_power", "largest_of_dense_rows", "largest_of_rows", "together"]

BLOCK = 1024
"""Rows of dense weights made sparse together."""


def inverse_power(counts: NDArray[np.int64], exponent: float) -> NDArray[np.float64]:
    """count^−exponent, 1 where nothing was counted."""
    power: NDArray[np.float64] = np.maximum(counts, 1).astype(np.float64) ** -exponent
    return power


def together(data: TrainingData, user_penalty: float = 0.0) -> sparse.csr_array:
    """`(N, N)` Σ over the users who have both items of 1 / (items of the user)^user_penalty; the diagonal is empty."""
    seen = data.seen()
    weighted = sparse.diags_array(inverse_power(np.diff(seen.indptr), user_penalty)) @ seen
    pairs = sparse.csr_array(seen.T @ weighted)
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    return pairs


def largest_of_rows(weights: sparse.csr_array, count: int) -> sparse.csr_matrix:
    """The `count` largest weights of each row, ties to the smaller code."""
    weights.sort_indices()
    row = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    order = np.lexsort((weights.indices, -weights.data, row))
    place: NDArray[np.int64] = np.arange(len(order)) - weights.indptr[:-1][row]
    kept = np.sort(order[place < count])
    parts = (weights.data[kept], (row[kept], weights.indices[kept]))
    return sparse.csr_matrix(parts, shape=weights.shape, dtype=np.float32)


def largest_of_dense_rows(block: NDArray[np.floating], start: int, count: int) -> sparse.csr_array:
    """The `count` weights of each row that are largest in absolute value, the diagonal left out.

    Args:
        block: `(b, N)` rows from `start` on; written to.
        start: number of the first row.
        count: weights kept.
    """
    rows = np.arange(len(block))
    block[rows, start + rows] = 0.0
    if count < block.shape[1]:
        small = np.argpartition(np.abs(block), block.shape[1] - count, axis=1)[:, : block.shape[1] - count]
        np.put_along_axis(block, small, 0.0, axis=1)
    return sparse.csr_array(block.astype(np.float32))
