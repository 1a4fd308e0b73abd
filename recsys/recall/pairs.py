"""Items that users have together: sparse item-to-item weights and their largest."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.recall.base import TrainingData

__all__ = ["BLOCK", "at_codes", "inverse_power", "largest_of_dense_rows", "largest_of_rows", "together"]

BLOCK = 1024
"""Rows of dense weights made sparse together."""


def inverse_power(counts: NDArray[np.int64], exponent: float) -> NDArray[np.float64]:
    """count^−exponent, 1 where nothing was counted."""
    power: NDArray[np.float64] = np.maximum(counts, 1).astype(np.float64) ** -exponent
    return power


def together(
    data: TrainingData,
    *,
    user_penalty: float,
    row_penalty: float,
    column_penalty: float,
    count: int,
) -> sparse.csr_matrix:
    """The `count` largest weights of each item: items that users have together, `(N, N)` without its diagonal.

    W[i, j] = Σ over the users who have both of (items of the user)^−user_penalty, over count_i^row_penalty ·
    count_j^column_penalty. Worked out a block of items at a time, so that memory stays at what is kept and one block's
    pairs.
    """
    seen = data.seen()
    weighted = sparse.diags_array(inverse_power(np.diff(seen.indptr), user_penalty)) @ seen
    weighted = sparse.csr_array(weighted @ sparse.diags_array(inverse_power(data.counts, column_penalty)))
    by_item = sparse.csr_array(sparse.diags_array(inverse_power(data.counts, row_penalty)) @ seen.T)
    blocks = []
    for start in range(0, data.n_items, BLOCK):
        block = sparse.csr_array(by_item[start : start + BLOCK] @ weighted)
        own = np.repeat(np.arange(block.shape[0]) + start, np.diff(block.indptr)) == block.indices
        block.data[own] = 0.0
        blocks.append(largest_of_rows(block, count))
    return sparse.csr_matrix(sparse.vstack(blocks))


def largest_of_rows(weights: sparse.csr_array, count: int) -> sparse.csr_matrix:
    """The `count` largest weights above 0 of each row, ties to the smaller code."""
    weights.sort_indices()
    kept = weights.data > 0
    # A row at a time: sorting all rows at once takes twenty times as long.
    for row in np.flatnonzero(np.diff(weights.indptr) > count).tolist():
        part = slice(weights.indptr[row], weights.indptr[row + 1])
        values = weights.data[part]
        least = np.partition(values, len(values) - count)[len(values) - count]
        above = values > least
        above[np.flatnonzero(values == least)[: count - int(above.sum())]] = True
        kept[part] &= above
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))[kept]
    parts = (weights.data[kept], (rows, weights.indices[kept]))
    return sparse.csr_matrix(parts, shape=weights.shape, dtype=np.float32)


def largest_of_dense_rows(
    block: NDArray[np.floating], start: int, count: int, *, negative: bool = True
) -> sparse.csr_array:
    """The `count` weights of each row that are largest in absolute value, the diagonal left out.

    Args:
        block: `(b, N)` rows from `start` on; written to.
        start: number of the first row.
        count: weights kept.
        negative: whether those below 0 count.
    """
    rows = np.arange(len(block))
    block[rows, start + rows] = 0.0
    if not negative:
        np.maximum(block, 0.0, out=block)
    if count < block.shape[1]:
        small = np.argpartition(np.abs(block), block.shape[1] - count, axis=1)[:, : block.shape[1] - count]
        np.put_along_axis(block, small, 0.0, axis=1)
    return sparse.csr_array(block.astype(np.float32))


def at_codes(weights: sparse.coo_array, known: NDArray[np.int64], n_items: int) -> sparse.csr_matrix:
    """`(N, N)` by item code, of weights `(M, M)` by position among the known items `(M,)`."""
    places = (known[weights.row], known[weights.col])
    return sparse.csr_matrix((weights.data, places), shape=(n_items, n_items))
