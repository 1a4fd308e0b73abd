"""A stored list for every value of a feature."""

import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

from recsys.errors import ArtifactError
from recsys.features.batch import Arrays, Codes, Floats, QueryBatch
from recsys.retrieval.sparse_files import load_sparse, save_sparse
from recsys.retrieval.topk import gather, only, top_k

__all__ = ["LookupRetriever"]


class LookupRetriever:
    """The list of the request's key.

    Args:
        lists: `(K, N)` sparse: row is the key, column the item; items without a score above 0 are never returned.
        field: the encoded feature that holds the key, `user.*` or `context.*`; a key beyond the lists is that of
            unknown values, 1.
    """

    kind: ClassVar[str] = "lookup"

    def __init__(self, lists: sparse.csr_matrix, field: str) -> None:
        self._lists = sparse.csr_matrix(lists, dtype=np.float32)
        self._field = field

    def retrieve(self, queries: QueryBatch, k: int, *, allowed: Codes | None = None) -> tuple[Codes, Floats]:
        """See `Retriever`."""
        return top_k(only(self._scores(queries), allowed), k)

    def score(self, queries: QueryBatch, codes: Codes) -> Floats:
        """See `Retriever`."""
        return gather(self._scores(queries), codes)

    def _scores(self, queries: QueryBatch) -> Floats:
        """`(B, N)`; not to be written to."""
        return queries.once(self, lambda: self._looked_up(queries))

    def _looked_up(self, queries: QueryBatch) -> Floats:
        keys = np.asarray(queries.features[self._field], dtype=np.int64)
        known = np.where((keys >= 0) & (keys < self._lists.shape[0]), keys, 1)
        scores: Floats = self._lists[known].toarray()
        scores[scores <= 0] = -np.inf
        return scores

    def save(self, folder: Path) -> None:
        """See `Retriever`."""
        save_sparse(self._lists, folder)
        settings = {"keys": self._lists.shape[0], "items": self._lists.shape[1], "field": self._field}
        (folder / "lookup.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """See `Retriever`."""
        try:
            settings = json.loads((folder / "lookup.json").read_text(encoding="utf-8"))
            shape = (int(settings["keys"]), int(settings["items"]))
            return cls(load_sparse(folder, shape), str(settings["field"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{folder}: no lists by key ({error}); fit the route again") from error
