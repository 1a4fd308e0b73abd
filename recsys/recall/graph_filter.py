"""A low-pass filter on the graph of users and items, in closed form (GF-CF: Shen 2021, section 4)."""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.pairs import BLOCK, at_codes, inverse_power, largest_of_dense_rows
from recsys.recall.settings.neighbours import GraphFilterConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.neighbours import NeighboursRetriever

__all__ = ["fit", "right_singular_vectors"]

_OVERSAMPLED = 10
_ITERATIONS = 4


def fit(config: GraphFilterConfig, data: TrainingData, context: FitContext) -> Retriever:
    """W = D^−p · (RᵀR + ideal_weight · V·Vᵀ) · D^p, the largest weights of each row kept.

    R[u, i] = 1 / (items_u^user_penalty · count_i^p) where the user has the item, with p = popularity_penalty; V are the
    `rank` leading right singular vectors of R, and D the items' counts. A query is its history, as in the paper. Takes
    memory for N · (rank + neighbours) numbers, and time in N² · rank, for N items with events; others keep out of both.
    """
    known = np.flatnonzero(data.counts)
    seen = data.seen()[:, known]
    scale = inverse_power(data.counts[known], config.popularity_penalty)
    left = sparse.diags_array(inverse_power(np.diff(seen.indptr), config.user_penalty))
    graph = sparse.csr_array(left @ seen @ sparse.diags_array(scale)).astype(np.float32)
    vectors = right_singular_vectors(graph, config.rank, np.random.default_rng(context.seed))
    blocks = []
    for start in range(0, len(known), BLOCK):
        stop = min(start + BLOCK, len(known))
        linear = (graph[:, start:stop].T @ graph).toarray()
        block = linear + np.float32(config.ideal_weight) * (vectors[start:stop] @ vectors.T)
        block *= scale[start:stop, None] / scale[None, :]
        blocks.append(largest_of_dense_rows(block, start, config.neighbours))
    weights = at_codes(sparse.vstack(blocks).tocoo(), known, data.n_items)
    return NeighboursRetriever(weights, query_decay=config.query_decay, history=config.history)


def right_singular_vectors(matrix: sparse.csr_array, rank: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """`(N, rank)` leading right singular vectors of `(M, N)`, by randomised subspace iteration (Halko 2011, 4.4)."""
    width = min(rank + _OVERSAMPLED, *matrix.shape)
    basis = rng.standard_normal((matrix.shape[0], width), dtype=np.float32)
    basis = linalg.qr(basis, mode="economic", overwrite_a=True)[0]
    for _ in range(_ITERATIONS):
        right = linalg.qr(matrix.T @ basis, mode="economic", overwrite_a=True)[0]
        basis = linalg.qr(matrix @ right, mode="economic", overwrite_a=True)[0]
    # Rows of basisᵀ · matrix span the leading right space; its own decomposition is small.
    _, _, right = linalg.svd((matrix.T @ basis).T, full_matrices=False)
    vectors: NDArray[np.float32] = np.ascontiguousarray(right[:rank].T)
    return vectors
