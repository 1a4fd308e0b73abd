"""From requests to fused candidates: ask every route, drop what policy withholds, fuse.

The pipeline makes the ranker's training candidates with it and the runtime answers with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.format import FusionSpec, Policy
from recsys.engine.threads import map_chunks
from recsys.errors import ConfigError
from recsys.features.batch import Codes, Floats, QueryBatch
from recsys.retrieval.base import Retriever
from recsys.retrieval.fusion import Candidates, fuse

__all__ = ["CandidateGenerator", "contains", "keep_first", "withheld"]

_CHUNK = 256
"""Requests looked at together: bounds memory, whatever the batch."""


@dataclass(frozen=True, slots=True)
class CandidateGenerator:
    """The recall half of the funnel.

    Attributes:
        retrievers: by route name.
        fusion: weights of every route and list lengths.
        policy: which items of a request's own history are withheld.
    """

    retrievers: Mapping[str, Retriever]
    fusion: FusionSpec
    policy: Policy

    def __post_init__(self) -> None:
        missing = sorted(self.retrievers.keys() - self.fusion.weights.keys())
        if missing:
            raise ConfigError(f"fusion.weights: no weight for {', '.join(missing)}; give every route one")
        for name in sorted({"fusion", "match"} & self.retrievers.keys()):
            raise ConfigError(f"routes.{name}: this name is taken by features of the funnel's own; rename the route")

    def lists(
        self, queries: QueryBatch, *, allowed: Codes | None = None, blocked: Codes | None = None
    ) -> dict[str, tuple[Codes, Floats]]:
        """Each route's own list without withheld items, `(B, per_route)` codes and scores, best first.

        Args:
            queries: B requests.
            allowed: sorted item codes to choose from; `None` means the whole catalogue.
            blocked: `(B, X)` further codes to withhold, padded with −1.
        """
        excluded = withheld(queries, self.policy, blocked)
        return {
            name: _ask(retriever, queries, excluded, self.fusion.per_route, allowed)
            for name, retriever in self.retrievers.items()
        }

    def only(self, name: str) -> "CandidateGenerator":
        """The same with one route alone."""
        return replace(self, retrievers={name: self.retrievers[name]})

    def generate(
        self, queries: QueryBatch, *, allowed: Codes | None = None, blocked: Codes | None = None
    ) -> Candidates:
        """The fused candidates of B requests; arguments as in `lists`."""
        return self.fuse(self.lists(queries, allowed=allowed, blocked=blocked))

    def fuse(self, lists: Mapping[str, tuple[Codes, Floats]]) -> Candidates:
        """One list of candidates from the lists of the routes."""
        return fuse(lists, self.fusion)


def withheld(queries: QueryBatch, policy: Policy, blocked: Codes | None = None) -> Codes:
    """`(B, X)` codes that may not be recommended, −1 where there is none."""
    if policy.exclude_seen == "never":
        seen = np.full((len(queries), 0), -1, dtype=np.int32)
    elif policy.exclude_seen == "recent":
        seen = queries.recent(policy.recent)
    else:
        seen = queries.history
    return seen if blocked is None else np.concatenate([seen, blocked], axis=1)


def contains(rows: Codes, codes: Codes) -> NDArray[np.bool_]:
    """`(B, C)` whether each code of `codes` is in the same row of `rows` `(B, X)`; −1 never is."""
    if rows.shape[1] == 0 or codes.size == 0:
        return np.zeros(codes.shape, dtype=bool)
    width = np.int64(max(rows.max(), codes.max())) + 2
    base = np.arange(len(rows), dtype=np.int64)[:, None] * width
    keys = np.sort((base + rows)[rows >= 0])
    if not len(keys):
        return np.zeros(codes.shape, dtype=bool)
    wanted = base + codes
    found = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
    return np.asarray(found & (codes >= 0))


def keep_first(codes: Codes, scores: Floats, keep: NDArray[np.bool_], k: int) -> tuple[Codes, Floats]:
    """The first `k` kept entries of each row in their order, then padding: `(B, k)` codes and scores."""
    keep = keep & (codes >= 0)
    order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(keep, order, axis=1)
    out_codes = np.full((len(codes), k), -1, dtype=np.int32)
    out_scores = np.full((len(codes), k), -np.inf, dtype=np.float32)
    out_codes[:, : order.shape[1]] = np.where(kept, np.take_along_axis(codes, order, axis=1), -1)
    out_scores[:, : order.shape[1]] = np.where(kept, np.take_along_axis(scores, order, axis=1), -np.inf)
    return out_codes, out_scores


def _ask(
    retriever: Retriever, queries: QueryBatch, excluded: Codes, k: int, allowed: Codes | None
) -> tuple[Codes, Floats]:
    """A route's list without the excluded items, never shorter for it."""
    extra = (excluded >= 0).sum(axis=1)

    def answered(asked: QueryBatch, rows: NDArray[np.intp] | slice) -> tuple[Codes, Floats]:
        # A list longer by the number of excluded items holds k others, if there are as many.
        longer = k + int(extra[rows].max(initial=0))
        found, values = retriever.retrieve(asked, longer, allowed=allowed)
        return keep_first(found, values, ~contains(excluded[rows], found), k)

    if len(queries) <= _CHUNK:
        return answered(queries, slice(None))
    codes = np.empty((len(queries), k), dtype=np.int32)
    scores = np.empty((len(queries), k), dtype=np.float32)

    def answer(rows: NDArray[np.intp]) -> None:
        codes[rows], scores[rows] = answered(queries.take(rows), rows)

    map_chunks(answer, list(_chunks(extra)))
    return codes, scores


def _chunks(extra: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Positions of requests in chunks of similar over-fetch: one long history must not lengthen every list."""
    order = np.argsort(extra, kind="stable")
    for start in range(0, len(order), _CHUNK):
        yield order[start : start + _CHUNK]
