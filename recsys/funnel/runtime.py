"""The runtime: state → retrieve → fuse → filter → rank → top-K.

Evaluation, batch scoring, the command line and the server all answer through a `Funnel`, so that every reported number
comes from the code that serves.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.format import GoldenRequest, Manifest, open_bundle, read_provenance
from recsys.bundle.libraries import installed_libraries, mismatches
from recsys.engine.threads import map_chunks
from recsys.errors import BundleError, InputError
from recsys.features.assemble import Assembler
from recsys.features.batch import Arrays, Codes, Floats, QueryBatch
from recsys.features.rows import row_inputs
from recsys.funnel.candidates import contains, withheld
from recsys.funnel.explain import Case, Explanation, explain_case
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.parity import difference, tolerance
from recsys.funnel.parts import FunnelParts, Ranker, load_parts
from recsys.funnel.queries import QueryEncoder
from recsys.funnel.requests import Recommendation, Request, Response
from recsys.funnel.route_features import route_features
from recsys.funnel.rows import EncodedRows, Predictions, RowReader
from recsys.retrieval.fusion import Candidates

__all__ = ["Funnel", "RankedLists"]

_log = logging.getLogger(__name__)
_LOWEST = float(np.finfo(np.float32).min)
_CHUNK = 256
"""Requests ranked together: bounds memory, whatever the batch."""
_ROWS = 4096
"""Rows scored together, which have one candidate each and read no route."""


@dataclass(frozen=True, slots=True)
class RankedLists:
    """Answers to B requests.

    Attributes:
        codes: `(B, k)` item codes, best first, −1 where the candidates ran out.
        scores: `(B, k)` the ranker's logits, or fused scores without a ranker; −inf at padding.
        candidates: what the ranker chose from.
        lists: what each route handed to fusion, `(B, per_route)` codes and scores.
        probabilities: `(B, k, T)` of each task, 0 at padding; `None` without calibration.
    """

    codes: Codes
    scores: Floats
    candidates: Candidates
    lists: Mapping[str, tuple[Codes, Floats]]
    probabilities: NDArray[np.float64] | None = None


class Funnel:
    """A loaded bundle, ready to answer. Safe to share between threads: nothing changes after loading.

    Attributes:
        parts: what the bundle holds.
        manifest: its manifest.
        version: its integer version; 0 for a bundle outside a folder of versions.
        rows: reads rows of the log.
    """

    def __init__(self, parts: FunnelParts, manifest: Manifest, version: int = 0) -> None:
        self.parts = parts
        self.manifest = manifest
        self.version = version
        self._queries = QueryEncoder(parts)
        self.rows = RowReader(parts, self._queries)
        self._ranking = None if parts.ranker is None else _Ranking(parts.ranker, parts)
        by_popularity = np.lexsort((np.arange(len(parts.items)), -parts.popularity))
        self._fallback: Codes = by_popularity[parts.popularity[by_popularity] > 0].astype(np.int32)

    @classmethod
    def load(cls, bundle: Path, *, verify: bool = True) -> Self:
        """Checks every hash, reads, warms up and replays the golden requests; warns of other library versions.

        Args:
            bundle: a bundle's folder.
            verify: `False` skips content hashes and golden requests, for a bundle this process has just checked.

        Raises:
            BundleError: a file is damaged, or an answer differs from the one given when the bundle was built.
        """
        manifest = open_bundle(bundle, verify=verify)
        for line in mismatches(read_provenance(bundle).libraries, installed_libraries()) if verify else ():
            _log.warning("bundle %s: %s; its golden requests are replayed before it answers", bundle, line)
        name = bundle.resolve().name
        funnel = cls(load_parts(bundle, manifest), manifest, int(name) if name.isdecimal() else 0)
        funnel.predict([{}]) if funnel.parts.rows_only else funnel.recommend([Request()], k=1)
        if verify:
            funnel.replay(bundle)
        return funnel

    def replay(self, where: Path) -> None:
        """Answers the golden requests again. Raises `BundleError` at the first difference beyond the tolerance."""
        for number, golden in enumerate(self.manifest.golden):
            answer = self.golden_answer(golden)
            what = difference(golden.items, golden.scores, answer.items, answer.scores)
            if what is not None:
                raise BundleError(
                    f"{where}: golden request {number} (user {golden.user_id!r}): {what}; "
                    "the bundle does not answer here as it did when it was built: compare library versions with "
                    "provenance.json"
                )
        self._replay_rows(where)

    def _replay_rows(self, where: Path) -> None:
        expected_rows = self.manifest.golden_rows
        answered = self.golden_logits() if expected_rows else ()
        if len(answered) != len(expected_rows):
            raise BundleError(
                f"{where}: {len(answered)} golden rows, but the manifest says {len(expected_rows)}; build it again"
            )
        for number, (expected, found) in enumerate(zip(expected_rows, answered, strict=True)):
            band = tolerance(expected)
            if not all(abs(one - other) <= band for one, other in zip(expected, found, strict=True)):
                raise BundleError(
                    f"{where}: golden row {number}: logits {found}, expected {expected} ± {band:.2g}; the bundle does "
                    "not answer here as it did when it was built: compare library versions with provenance.json"
                )

    def golden_logits(self) -> tuple[tuple[float, ...], ...]:
        """The logits of the golden rows, given now; none where the bundle has none."""
        if self.parts.golden_rows is None:
            return ()
        rows = self.rows.of_table(self.parts.golden_rows)
        logits = np.clip(
            np.nan_to_num(self.task_logits(rows.queries, rows.codes)[:, 0], nan=_LOWEST), _LOWEST, -_LOWEST
        )
        return tuple(tuple(map(float, row)) for row in logits)

    def golden_answer(self, golden: GoldenRequest) -> GoldenRequest:
        """The golden request with the answer given now."""
        request = Request(user_id=golden.user_id, history=golden.history)
        items = self.recommend([request], golden.k)[0].items
        ids, scores = tuple(item.item_id for item in items), tuple(item.score for item in items)
        return golden.model_copy(update={"items": ids, "scores": scores})

    def query_batch(
        self,
        users: NDArray[np.integer],
        history: Codes | None = None,
        lengths: NDArray[np.int32] | None = None,
        context: Arrays | None = None,
    ) -> QueryBatch:
        """Requests of users by code, for evaluation and batch scoring.

        Args:
            users: `(B,)` user codes; −1 is an unknown user.
            history: `(B, H)` item codes, oldest first, padded with −1 on the right; `None` takes the stored histories.
            lengths: `(B,)` real entries of each row of `history`.
            context: encoded `context.*` arrays; `None` means nothing is known of the context.
        """
        return self._queries.of_users(users, history, lengths, context)

    def rank(
        self, queries: QueryBatch, k: int, *, allowed: Codes | None = None, blocked: Codes | None = None
    ) -> RankedLists:
        """The best `k` items of B requests; at most as many as there are candidates.

        Args:
            queries: B requests.
            k: list length.
            allowed: sorted item codes to choose from; `None` means the whole catalogue.
            blocked: `(B, X)` codes that may not come back, padded with −1.
        """

        def rank(rows: slice) -> RankedLists:
            return self._rank_chunk(queries.take(rows), k, allowed, None if blocked is None else blocked[rows])

        chunks = map_chunks(rank, list(_chunks(len(queries))))
        return chunks[0] if len(chunks) == 1 else _concatenate(chunks)

    def score_rows(self, queries: QueryBatch, codes: Codes) -> Floats:
        """The ranker's scores `(B, C)` for given items `(B, C)`, whether or not a route found them; −inf at −1.

        Raises:
            InputError: the bundle has no ranker.
        """
        return self._over_rows(_Ranking.scores, queries, codes)

    def task_logits(self, queries: QueryBatch, codes: Codes) -> Floats:
        """The ranker's logits of every task `(B, C, T)` for given items `(B, C)`; whatever it says at −1.

        Raises:
            InputError: the bundle has no ranker.
        """
        return self._over_rows(_Ranking.logits, queries, codes)

    def predict(self, rows: Sequence[Mapping[str, object]]) -> Predictions:
        """What the ranker says of rows of raw values, by the columns of the log.

        A column that a row lacks counts as missing. Of a log with users and items, history and features are those that
        the bundle has stored.

        Raises:
            InputError: the bundle has no ranker, or a row has a column that the bundle does not know.
            DataError: a value has the wrong type.
        """
        return self.predict_rows(self.rows.of_json(rows))

    def predict_rows(self, rows: EncodedRows) -> Predictions:
        """What the ranker says of encoded rows. Raises `InputError` when the bundle has no ranker."""
        logits = self.task_logits(rows.queries, rows.codes)
        assert self._ranking is not None
        assert self.parts.ranker is not None
        calibration = self.parts.ranker.calibration
        known = np.nan_to_num(logits[:, 0], nan=_LOWEST)
        return Predictions(
            self._ranking.answer(logits, rows.codes)[:, 0],
            logits[:, 0],
            None if calibration is None else calibration.probabilities(known),
        )

    def _over_rows(self, give: "_Give", queries: QueryBatch, codes: Codes) -> Floats:
        if self._ranking is None:
            raise InputError(f"bundle {self.manifest.name}: has no ranker to score rows with; set `ranking:` and run")
        given = []
        alone = not self._ranking.reads_routes and codes.shape[1] == 1
        for rows in _chunks(len(queries), _ROWS if alone else _CHUNK):
            chunk = queries.take(rows)
            candidates = self.parts.generator.generate(chunk) if self._ranking.reads_routes else None
            given.append(give(self._ranking, chunk, codes[rows], candidates))
        return np.concatenate(given)

    def recommend(self, requests: Sequence[Request], k: int = 10, *, explain: bool = False) -> list[Response]:
        """Answers requests in outside ids.

        Args:
            requests: known users, unknown users, with or without history.
            k: items asked for; a list is shorter when the candidates run out.
            explain: also say which routes found each item.

        Raises:
            InputError: `k` is not positive, or the bundle only scores rows.
            DataError: a feature or context value has the wrong type.
        """
        _check_k(k)
        self._check_recommends()
        responses: list[Response | None] = [None] * len(requests)
        for allowed, rows in _by_allowed(requests):
            encoded = self._queries.encode([requests[row] for row in rows])
            lists = self.rank(encoded.queries, k, allowed=self._allowed(allowed), blocked=encoded.blocked)
            for position, row in enumerate(rows):
                responses[row] = Response(
                    self._items(lists, position, explain),
                    bool(encoded.users[position] >= 0),
                    encoded.unknown_items[position],
                )
        return [response for response in responses if response is not None]

    def explain(self, request: Request, item_id: str, k: int = 10) -> Explanation:
        """Why an item is in the request's top k, or which stage lost it.

        Raises:
            InputError: `k` is not positive, or the bundle only scores rows.
            DataError: a feature or context value has the wrong type.
        """
        _check_k(k)
        self._check_recommends()
        encoded = self._queries.encode([request])
        queries, blocked = encoded.queries, encoded.blocked
        allowed = self._allowed(None if request.allowed is None else tuple(request.allowed))
        code, known = int(self._queries.item_codes([item_id])[0]), bool(encoded.users[0] >= 0)
        if code < 0:
            why = "no such item in this bundle"
            return Explanation("catalogue", why, None, known, int(queries.lengths[0]), {}, None, None)
        title, n_items = self.parts.titles[code].as_py(), len(self.parts.items)
        case = Case(self.parts.generator, queries, known, code, title, n_items, allowed, blocked)
        lists = self.parts.generator.lists(queries, allowed=allowed, blocked=blocked)
        candidates = self._fill_empty(self.parts.generator.fuse(lists), queries, allowed, blocked)
        scores = self._scores(queries, candidates.codes, candidates)[0]
        absent = code not in candidates.codes[0] and self._ranking is not None
        own = self._scores(queries, np.array([[code]], dtype=np.int32), candidates)[0, 0] if absent else -np.inf
        return explain_case(case, lists, candidates, scores, float(own), k)

    def _check_recommends(self) -> None:
        if self.parts.rows_only:
            raise InputError(
                f"bundle {self.manifest.name}: recommends nothing, because it was built from a log without users and "
                "items and has no routes; it scores rows: `recsys score-rows`, or POST /v1/predict"
            )

    def _scores(self, queries: QueryBatch, codes: Codes, candidates: Candidates) -> Floats:
        """Final scores `(B, C)`: the ranker's for any items, the fused ones for the candidates."""
        return candidates.scores if self._ranking is None else self._ranking.scores(queries, codes, candidates)

    def _allowed(self, item_ids: tuple[str, ...] | None) -> Codes | None:
        if item_ids is None:
            return None
        codes = np.unique(self._queries.item_codes(item_ids))
        return codes[codes >= 0]

    def _items(self, lists: RankedLists, row: int, explain: bool) -> tuple[Recommendation, ...]:
        codes = lists.codes[row][lists.codes[row] >= 0]
        ids = self.parts.items.decode(codes).to_pylist()
        return tuple(
            Recommendation(
                item_id=item_id,
                title=self.parts.titles[code].as_py(),
                rank=position + 1,
                score=float(lists.scores[row, position]),
                routes=_routes(lists.candidates, row, code) if explain else {},
                probability=self._probability(lists, row, position),
            )
            for position, (item_id, code) in enumerate(zip(ids, codes.tolist(), strict=True))
        )

    def _probability(self, lists: RankedLists, row: int, position: int) -> float | dict[str, float] | None:
        if lists.probabilities is None:
            return None
        assert self.parts.ranker is not None
        values, tasks = lists.probabilities[row, position].tolist(), self.parts.ranker.tasks
        return float(values[0]) if tasks is None else dict(zip(tasks.names, values, strict=True))

    def _rank_chunk(self, queries: QueryBatch, k: int, allowed: Codes | None, blocked: Codes | None) -> RankedLists:
        lists = self.parts.generator.lists(queries, allowed=allowed, blocked=blocked)
        candidates = self._fill_empty(self.parts.generator.fuse(lists), queries, allowed, blocked)
        if self._ranking is None:
            order = _order(candidates.codes, candidates.scores, k)
            return RankedLists(*_top(candidates.codes, candidates.scores, order, k), candidates, lists)
        logits = self._ranking.logits(queries, candidates.codes, candidates)
        scores = self._ranking.answer(logits, candidates.codes)
        order = _order(candidates.codes, scores, k)
        probabilities = self._ranking.probabilities(logits, order, k)
        return RankedLists(*_top(candidates.codes, scores, order, k), candidates, lists, probabilities)

    def _fill_empty(
        self, candidates: Candidates, queries: QueryBatch, allowed: Codes | None, blocked: Codes | None
    ) -> Candidates:
        """Popular items for requests that no route answered: a cold start always gets a list."""
        empty = np.flatnonzero((candidates.codes < 0).all(axis=1))
        if not len(empty):
            return candidates
        pool = self._fallback if allowed is None else self._fallback[np.isin(self._fallback, allowed)]
        excluded = withheld(queries, self.parts.generator.policy, blocked)[empty]
        codes, scores = candidates.codes.copy(), candidates.scores.copy()
        for row, hidden in zip(empty, excluded, strict=True):
            free = pool[~contains(hidden[None], pool[None])[0]][: codes.shape[1]]
            codes[row, : len(free)] = free
            # No route stands behind these items: scores below any fused one, in order.
            scores[row, : len(free)] = -np.arange(len(free), dtype=np.float32)
        return replace(candidates, codes=codes, scores=scores)


class _Ranking:
    """The ranker with the inputs it reads."""

    def __init__(self, ranker: Ranker, parts: FunnelParts) -> None:
        self.reads_routes = bool(ranker.spec.side("route"))
        self._ranker = ranker
        self._retrievers = parts.generator.retrievers
        match = MatchFeatures(parts.item_features)
        read = {field.name for field in ranker.spec.fields}
        self._match = match if read.intersection(match.names) else None
        self._rows_only = parts.rows_only
        self._assembler = Assembler(None if parts.rows_only else parts.item_features, ranker.spec)

    def logits(self, queries: QueryBatch, codes: Codes, candidates: Candidates | None) -> Floats:
        """The logits `(B, C, T)` for given items."""
        given: Arrays = {}
        if self._rows_only:
            given = row_inputs(queries.features)
        elif self.reads_routes and candidates is not None:
            given = route_features(self._retrievers, queries, codes, candidates, match=self._match)
        return self._ranker.scorer.score(self._assembler.inputs(queries, codes, given))

    def scores(self, queries: QueryBatch, codes: Codes, candidates: Candidates | None) -> Floats:
        """What items are ordered by, `(B, C)`; −inf at −1."""
        return self.answer(self.logits(queries, codes, candidates), codes)

    def answer(self, logits: Floats, codes: Codes) -> Floats:
        """What items `(B, C)` are ordered by, of their logits `(B, C, T)`; −inf at −1."""
        scores = self._ranker.answer(logits)
        # A model that overflows on one item must not take the item before it out of the order.
        finite = np.nan_to_num(scores, nan=_LOWEST, neginf=_LOWEST)
        return np.where(codes >= 0, finite, np.float32(-np.inf)).astype(np.float32)

    def probabilities(self, logits: Floats, order: NDArray[np.intp], k: int) -> NDArray[np.float64] | None:
        """`(B, k, T)` of the items at these places `(B, K ≤ k)`, 0 behind the last; `None` without calibration."""
        if self._ranker.calibration is None:
            return None
        first = np.nan_to_num(np.take_along_axis(logits, order[..., None], axis=1), nan=_LOWEST)
        values = self._ranker.calibration.probabilities(first)
        return np.pad(values, ((0, 0), (0, k - order.shape[1]), (0, 0)))


_Give = Callable[[_Ranking, QueryBatch, Codes, Candidates | None], Floats]
"""What a ranker says of given items."""


def _check_k(k: int) -> None:
    if k < 1:
        raise InputError(f"k: {k} is not a list length; ask for at least 1")


def _by_allowed(requests: Sequence[Request]) -> list[tuple[tuple[str, ...] | None, list[int]]]:
    """Positions of the requests that choose from the same items, together."""
    groups: dict[tuple[str, ...] | None, list[int]] = {}
    for row, request in enumerate(requests):
        groups.setdefault(None if request.allowed is None else tuple(request.allowed), []).append(row)
    return list(groups.items())


def _chunks(count: int, size: int = _CHUNK) -> Iterator[slice]:
    for start in range(0, max(count, 1), size):
        yield slice(start, start + size)


def _order(codes: Codes, scores: Floats, k: int) -> NDArray[np.intp]:
    """Places of the best `k` of each row, at most as many as there are, ties to the smaller code."""
    return np.lexsort((codes, -scores), axis=1)[:, :k]


def _top(codes: Codes, scores: Floats, order: NDArray[np.intp], k: int) -> tuple[Codes, Floats]:
    """Codes and scores at these places, padded to k."""
    top_codes = np.full((len(codes), k), -1, dtype=np.int32)
    top_scores = np.full((len(codes), k), -np.inf, dtype=np.float32)
    top_codes[:, : order.shape[1]] = np.take_along_axis(codes, order, axis=1)
    top_scores[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
    return top_codes, top_scores


def _routes(candidates: Candidates, row: int, code: int) -> dict[str, int]:
    column = int(np.argmax(candidates.codes[row] == code))
    ranks = candidates.ranks[:, row, column].tolist()
    return {name: rank + 1 for name, rank in zip(candidates.routes, ranks, strict=True) if rank >= 0}


def _concatenate(chunks: Sequence[RankedLists]) -> RankedLists:
    parts = [chunk.candidates for chunk in chunks]
    candidates = replace(
        parts[0],
        codes=np.concatenate([p.codes for p in parts]),
        scores=np.concatenate([p.scores for p in parts]),
        ranks=np.concatenate([p.ranks for p in parts], axis=1),
        route_scores=np.concatenate([p.route_scores for p in parts], axis=1),
    )
    probabilities = [chunk.probabilities for chunk in chunks if chunk.probabilities is not None]
    return RankedLists(
        np.concatenate([chunk.codes for chunk in chunks]),
        np.concatenate([chunk.scores for chunk in chunks]),
        candidates,
        {name: _joined([chunk.lists[name] for chunk in chunks]) for name in chunks[0].lists},
        np.concatenate(probabilities) if probabilities else None,
    )


def _joined(lists: Sequence[tuple[Codes, Floats]]) -> tuple[Codes, Floats]:
    return np.concatenate([codes for codes, _ in lists]), np.concatenate([scores for _, scores in lists])
