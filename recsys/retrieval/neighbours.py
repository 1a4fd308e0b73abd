"""Item-to-item weights summed over the history."""

import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

from recsys.errors import ArtifactError
from recsys.features.batch import Arrays, Codes, Floats, QueryBatch
from recsys.retrieval.recency import recent_weights
from recsys.retrieval.sparse_files import load_sparse, save_sparse
from recsys.retrieval.topk import gather, only, top_k

__all__ = ["NeighboursRetriever"]


class NeighboursRetriever:
    """score(j) = Σ_p query_decay^p · W[item p steps back, j] over the recent history.

    Args:
        weights: `(N, N)` sparse: row is the item of the history, column the item recommended. Only items whose sum is
            above 0 are returned.
        query_decay: weight of a history item one step further back, in (0, 1].
        history: the most recent items that count.
    """

    kind: ClassVar[str] = "neighbours"

    def __init__(self, weights: sparse.csr_matrix, *, query_decay: float = 1.0, history: int = 60) -> None:
        self._weights = sparse.csr_matrix(weights, dtype=np.float32)
        self._decay = query_decay
        self._history = history

    def retrieve(self, queries: QueryBatch, k: int, *, allowed: Codes | None = None) -> tuple[Codes, Floats]:
        """See `Retriever`; an item that no history item is related to is never returned."""
        return top_k(only(self._scores(queries), allowed), k)

    def score(self, queries: QueryBatch, codes: Codes) -> Floats:
        """See `Retriever`."""
        return gather(self._scores(queries), codes)

    def _scores(self, queries: QueryBatch) -> Floats:
        """`(B, N)`; not to be written to."""
        return queries.once(self, lambda: self._summed(queries))

    def _summed(self, queries: QueryBatch) -> Floats:
        asked = recent_weights(queries, self._weights.shape[0], self._history, self._decay)
        scores: Floats = (asked @ self._weights).toarray()
        np.putmask(scores, scores <= 0, -np.inf)
        return scores

    def save(self, folder: Path) -> None:
        """See `Retriever`."""
        save_sparse(self._weights, folder)
        settings = {"items": self._weights.shape[0], "query_decay": self._decay, "history": self._history}
        (folder / "neighbours.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """See `Retriever`."""
        try:
            settings = json.loads((folder / "neighbours.json").read_text(encoding="utf-8"))
            count = int(settings["items"])
            weights = load_sparse(folder, (count, count))
            return cls(weights, query_decay=float(settings["query_decay"]), history=int(settings["history"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{folder}: not neighbour weights ({error}); fit the route again") from error
