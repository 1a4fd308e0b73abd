"""Exact search by inner product."""

from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from recsys.errors import ArtifactError
from recsys.features.batch import Codes, Floats
from recsys.retrieval.static import read_array
from recsys.retrieval.topk import top_k

__all__ = ["VectorIndex"]

# One thread a search: in request threads more of them fight over the cores. FAISS also hangs after a fork: spawn.
faiss.omp_set_num_threads(1)


class VectorIndex:
    """Item vectors in a FAISS flat index.

    Only the vectors are stored; the index is built from them when loading, so that no native parser ever reads a file
    that came from outside.

    Args:
        vectors: `(N, D)` float32 by item code.
    """

    def __init__(self, vectors: Floats) -> None:
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._index: Any = faiss.IndexFlatIP(self.vectors.shape[1])
        self._index.add(self.vectors)

    def search(self, queries: Floats, k: int, *, allowed: Codes | None = None) -> tuple[Codes, Floats]:
        """The `k` items with the largest inner product.

        Args:
            queries: `(B, D)`; one that is not finite finds nothing.
            k: list length.
            allowed: sorted item codes to choose from; `None` means all.

        Returns:
            codes `(B, k)` and scores `(B, k)`, best first, ties to the smaller code, padded with −1 and −inf.
        """
        queries, finite = _finite(queries)
        codes, scores = self._all(queries, k) if allowed is None else self._some(queries, k, allowed)
        return np.where(finite, codes, np.int32(-1)), np.where(finite, scores, np.float32(-np.inf))

    def _all(self, queries: Floats, k: int) -> tuple[Codes, Floats]:
        if k >= len(self.vectors):
            return top_k(queries @ self.vectors.T, k)
        # One more than asked shows whether the last place is tied; such a row is settled over all items.
        scores, codes = self._index.search(queries, k + 1)
        order = np.lexsort((codes, -scores), axis=1)[:, :k]
        best, found = np.take_along_axis(scores, order, axis=1), np.take_along_axis(codes, order, axis=1)
        for row in np.flatnonzero(scores[:, k] == scores[:, k - 1]):
            found[row], best[row] = (part[0] for part in top_k(queries[row : row + 1] @ self.vectors.T, k))
        return found.astype(np.int32), best

    def _some(self, queries: Floats, k: int, allowed: Codes) -> tuple[Codes, Floats]:
        found, scores = top_k(queries @ self.vectors[allowed].T, k)
        return np.append(allowed, np.int32(-1))[found], scores

    def score(self, queries: Floats, codes: Codes) -> Floats:
        """`(B, C)` inner products of queries `(B, D)` with items `(B, C)`; −inf at −1 and for what finds nothing."""
        queries, finite = _finite(queries)
        products = np.einsum("bd,bcd->bc", queries, self.vectors[np.maximum(codes, 0)], optimize=False)
        return np.where(finite & (codes >= 0), products, np.float32(-np.inf)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Writes `vectors.npy` into an existing folder."""
        np.save(folder / "vectors.npy", self.vectors, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Raises `ArtifactError` when it is missing or damaged."""
        vectors = read_array(folder / "vectors.npy")
        if vectors.ndim != 2 or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise ArtifactError(
                f"{folder}: vectors of shape {vectors.shape} and type {vectors.dtype}, expected finite (N, D) float32; "
                "fit the route again"
            )
        return cls(vectors)


def _finite(queries: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The queries with zeros for those that are not finite, and `(B, 1)` which are."""
    finite = np.asarray(np.isfinite(queries).all(axis=1, keepdims=True))
    return np.ascontiguousarray(np.where(finite, queries, 0.0), dtype=np.float32), finite
