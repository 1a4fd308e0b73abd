"""Items matched by the terms they have in common: one sparse product, a block of rows at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.recall.pairs import largest_of_rows
from recsys.recall.settings.content import TermsConfig
from recsys.retrieval.neighbours import NeighboursRetriever

__all__ = ["common_terms", "document_frequency", "matched"]

_PAIRS = 1 << 23
"""Pairs of items in memory together, about: 100 MB."""


def common_terms(counts: sparse.csr_array, max_items: int) -> sparse.csr_array:
    """Term counts `(N, V)` without the terms of more than `max_items` items."""
    return sparse.csr_array(counts[:, document_frequency(counts) <= max_items])


def document_frequency(counts: sparse.csr_array) -> NDArray[np.int64]:
    """`(V,)` items that have each term."""
    return np.bincount(counts.indices, minlength=counts.shape[1])


def matched(asking: sparse.csr_array, found: sparse.csr_array, config: TermsConfig) -> NeighboursRetriever:
    """Serves W = asking · foundᵀ, of each row the `config.neighbours` largest above 0; an item never finds itself.

    Takes time in Σ over terms of (items with it)², and memory for N · neighbours weights and one block of pairs.

    Args:
        asking: `(N, V)` weights of each term in an item of the history.
        found: `(N, V)` weights of each term in an item to be found.
        config: of the route.
    """
    by_term = sparse.csr_array(found.T)
    blocks = []
    for start, stop in _blocks(asking, np.diff(by_term.indptr)):
        block = sparse.csr_array(asking[start:stop] @ by_term)
        own = np.repeat(np.arange(start, stop), np.diff(block.indptr)) == block.indices
        block.data[own] = 0.0
        blocks.append(largest_of_rows(block, config.neighbours))
    return NeighboursRetriever(
        sparse.csr_matrix(sparse.vstack(blocks)), query_decay=config.query_decay, history=config.history
    )


def _blocks(asking: sparse.csr_array, frequency: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of rows that match at most `_PAIRS` pairs, or a single row."""
    matches = np.concatenate([[0], np.cumsum(frequency[asking.indices])])[asking.indptr]
    pairs = np.concatenate([[0], np.cumsum(np.minimum(np.diff(matches), asking.shape[0]))])
    start = 0
    while start < asking.shape[0]:
        stop = max(start + 1, int(np.searchsorted(pairs, pairs[start] + _PAIRS, side="right")) - 1)
        yield start, stop
        start = stop
