"""A query vector against an index of item vectors."""

import json
from pathlib import Path
from typing import ClassVar, Self

from recsys.errors import ArtifactError
from recsys.features.batch import Arrays, Codes, Floats, QueryBatch
from recsys.retrieval.encoders import ENCODERS, QueryEncoder
from recsys.retrieval.index import VectorIndex

__all__ = ["VectorRetriever"]


class VectorRetriever:
    """Items by inner product with the request's vector; those whose vector is zero are never returned.

    Args:
        index: item vectors.
        encoder: of requests, into the same space.
    """

    kind: ClassVar[str] = "vector"

    def __init__(self, index: VectorIndex, encoder: QueryEncoder) -> None:
        self._index = index
        self._encoder = encoder

    def retrieve(self, queries: QueryBatch, k: int, *, allowed: Codes | None = None) -> tuple[Codes, Floats]:
        """See `Retriever`."""
        return self._index.search(self._vectors(queries), k, allowed=allowed)

    def score(self, queries: QueryBatch, codes: Codes) -> Floats:
        """See `Retriever`."""
        return self._index.score(self._vectors(queries), codes)

    def _vectors(self, queries: QueryBatch) -> Floats:
        return queries.once(self, lambda: self._encoder.encode(queries))

    def save(self, folder: Path) -> None:
        """See `Retriever`."""
        self._index.save(folder)
        self._encoder.save(folder)
        (folder / "encoder.json").write_text(json.dumps({"kind": self._encoder.kind}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """See `Retriever`."""
        path = folder / "encoder.json"
        try:
            load = ENCODERS[json.loads(path.read_text(encoding="utf-8"))["kind"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path}: no known query encoder ({error}); fit the route again") from error
        return cls(VectorIndex.load(folder), load(folder, item_features))
