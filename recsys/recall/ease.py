"""EASE: every item a linear regression on all the others, in closed form (Steck 2019; with dropout, Steck 2020)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from recsys.errors import DataError
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.pairs import BLOCK, at_codes, inverse_power, largest_of_dense_rows
from recsys.recall.settings.neighbours import EASEConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.neighbours import NeighboursRetriever

__all__ = ["fit"]

_DOUBLE = 16_384
"""Up to this many items the inverse is computed in double precision: above it, memory counts more."""


def fit(config: EASEConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Solves min ‖X − X·B‖² + ‖Λ^½·B‖² with diag(B) = 0, and keeps the largest weights of each row.

    The penalty is Λ = l2·I + dropout / (1 − dropout) · diag(XᵀX) (Steck 2020, equation 5).

    X are the users' items, each row divided by its length^user_penalty: without, who has many items has all the say.
    Weights towards an item are divided by its count^popularity_penalty.

    With P = (XᵀX + Λ)⁻¹: B[i, j] = −P[i, j] / P[j, j] (Steck 2019, equation 8). Takes N²·8 bytes for N items, half
    of that above 16,384 items, and time in N³; items without events keep out of both.

    Raises:
        DataError: the inverse is not finite, for an `l2` too small for the precision.
    """
    seen = data.seen()
    seen = sparse.csr_array(sparse.diags_array(inverse_power(np.diff(seen.indptr), config.user_penalty)) @ seen)
    known = np.flatnonzero(data.counts)
    gram = (seen.T @ seen).tocsr()[known][:, known]
    # Dropout of the inputs, in expectation: a ridge penalty in proportion to how often the item occurs.
    ridge = config.l2 + config.dropout / (1 - config.dropout) * gram.diagonal()
    weights = _inverse(gram, ridge)
    scale = -inverse_power(data.counts[known], config.popularity_penalty) / np.diagonal(weights)
    blocks = [
        largest_of_dense_rows(
            weights[start : start + BLOCK] * scale, start, config.neighbours, negative=config.negative_weights
        )
        for start in range(0, len(known), BLOCK)
    ]
    return NeighboursRetriever(
        at_codes(sparse.vstack(blocks).tocoo(), known, data.n_items),
        query_decay=config.query_decay,
        history=config.history,
    )


def _inverse(gram: sparse.csr_array, ridge: NDArray[np.float64]) -> NDArray[np.float64]:
    """(gram + diag(ridge))⁻¹ by Cholesky, in the memory of one dense matrix; of single precision if that is large."""
    size = gram.shape[0]
    dense: NDArray[np.float64] = np.empty((size, size), dtype=np.float64 if size <= _DOUBLE else np.float32, order="F")
    for start in range(0, size, BLOCK):
        # A block at a time: whole, it would stand in memory twice, and once of them in double precision.
        dense[:, start : start + BLOCK] = gram[start : start + BLOCK].toarray().T
    dense[np.diag_indices(size)] += ridge
    routines: Any = linalg.get_lapack_funcs(("potrf", "potri"), (dense,))
    factor, inverse = routines
    dense, failed = factor(dense, lower=True, overwrite_a=True, clean=False)
    if not failed:
        dense, failed = inverse(dense, lower=True, overwrite_c=True)
    if failed or not np.isfinite(np.diagonal(dense)).all():
        raise DataError(f"ease: the item matrix cannot be inverted with l2 = {ridge.min():g}; raise l2")
    # LAPACK fills the lower triangle.
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        dense[:start, start:stop] = dense[start:stop, :start].T
        square = np.tril(dense[start:stop, start:stop])
        dense[start:stop, start:stop] = square + np.tril(square, -1).T
    return dense
