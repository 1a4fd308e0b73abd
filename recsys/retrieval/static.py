"""One list for everybody."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from recsys.errors import ArtifactError
from recsys.features.batch import Arrays, Codes, Floats, QueryBatch
from recsys.retrieval.topk import gather, only, top_k

__all__ = ["StaticRetriever"]


class StaticRetriever:
    """The same scores for every request.

    Args:
        scores: `(N,)` by item code; an item without a positive score is never returned.
    """

    kind: ClassVar[str] = "static"

    def __init__(self, scores: Floats) -> None:
        self._given = np.asarray(scores, dtype=np.float32)
        self._scores = np.where(self._given > 0, self._given, np.float32(-np.inf))[None]

    def retrieve(self, queries: QueryBatch, k: int, *, allowed: Codes | None = None) -> tuple[Codes, Floats]:
        """See `Retriever`."""
        codes, scores = top_k(only(self._scores, allowed), k)
        return np.repeat(codes, len(queries), axis=0), np.repeat(scores, len(queries), axis=0)

    def score(self, queries: QueryBatch, codes: Codes) -> Floats:
        """See `Retriever`."""
        return gather(np.broadcast_to(self._scores, (len(codes), self._scores.shape[1])), codes)

    def save(self, folder: Path) -> None:
        """See `Retriever`."""
        np.save(folder / "scores.npy", self._given, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """See `Retriever`."""
        scores: Any = read_array(folder / "scores.npy")
        if scores.ndim != 1 or scores.dtype.kind != "f":
            raise ArtifactError(
                f"{folder}: scores of shape {scores.shape} and type {scores.dtype}, expected (N,) floats; "
                "fit the route again"
            )
        return cls(scores)


def read_array(path: Path) -> np.ndarray[Any, Any]:
    """An array of a route, memory-mapped. Raises `ArtifactError` when it is missing or unreadable."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); fit the route again") from error
