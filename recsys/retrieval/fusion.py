"""The lists of several routes made into one, by weighted reciprocal rank (Cormack 2009)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Codes, Floats
from recsys.metrics.ranking import ndcg_at_k, relevance

__all__ = ["Candidates", "fit_weights", "fuse"]

Lists = Mapping[str, tuple[Codes, Floats]]
_GRID = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)
_SWEEPS = 3
_Number = TypeVar("_Number", bound=np.number[Any])


@dataclass(frozen=True, slots=True)
class Candidates:
    """The fused candidates of B requests.

    Attributes:
        codes: `(B, C)` item codes, best first, −1 at the end of shorter rows.
        scores: `(B, C)` fused scores, −inf at padding.
        routes: R names.
        ranks: `(R, B, C)` int32 rank of the candidate in the route's list, from 0; −1 where the route did not find it.
        route_scores: `(R, B, C)` the route's own score; −inf where it did not find it.
    """

    codes: Codes
    scores: Floats
    routes: tuple[str, ...]
    ranks: NDArray[np.int32]
    route_scores: Floats

    def take(self, rows: NDArray[np.integer]) -> "Candidates":
        """The candidates of the requests at these positions."""
        return Candidates(
            self.codes[rows], self.scores[rows], self.routes, self.ranks[:, rows], self.route_scores[:, rows]
        )


def fuse(lists: Lists, weights: Mapping[str, float], k: float, candidates: int) -> Candidates:
    """Fuses ranked lists: score = Σ_route w / (k + rank), ranks from 1.

    A route of weight 0 adds no candidate, but says what it thinks of those of the others.

    Args:
        lists: codes `(B, K)` and scores `(B, K)` by route, best first, padded with −1; no item twice in a row.
        weights: by route.
        k: how little the first ranks differ.
        candidates: C, list length.

    Returns:
        The best C items of each request, ties to the smaller code.
    """
    items, places = _unions([codes for codes, _ in lists.values()])
    reciprocal = [
        _at(_reciprocal(codes, k), place, 0.0) for (codes, _), place in zip(lists.values(), places, strict=True)
    ]
    fused = np.zeros(items.shape)
    for name, part in zip(lists, reciprocal, strict=True):
        fused += weights[name] * part
    fused = np.where((items >= 0) & (fused > 0), fused, -np.inf)
    width = min(candidates, items.shape[1])
    # Items ascend in a row, so a stable sort gives ties to the smaller code.
    order = np.argsort(-fused, axis=1, kind="stable")[:, :width]
    scores = np.take_along_axis(fused, order, axis=1)
    codes = np.where(scores > -np.inf, np.take_along_axis(items, order, axis=1), -1).astype(np.int32)
    placed = [np.where(codes >= 0, np.take_along_axis(place, order, axis=1), -1) for place in places]
    found = [_at(values, place, -np.inf) for (_, values), place in zip(lists.values(), placed, strict=True)]
    return Candidates(
        _wide(codes, candidates, -1),
        _wide(scores.astype(np.float32), candidates, -np.inf),
        tuple(lists),
        _wide(np.stack(placed).astype(np.int32), candidates, -1),
        _wide(np.stack(found).astype(np.float32), candidates, -np.inf),
    )


def fit_weights(
    lists: Lists, offsets: NDArray[np.int64], positives: Codes, k: float, *, at: int = 10
) -> dict[str, float]:
    """Weights that maximise the mean NDCG@`at` of the fused lists, by coordinate search from the best single route.

    Args:
        lists: as in `fuse`.
        offsets: `(B + 1,)` where each request's positives begin.
        positives: item codes of what followed; every request has at least one.
        k: as in `fuse`.
        at: depth of the metric.

    Returns:
        By route; the largest is 1. Equal weights when no list holds a positive.
    """
    items, places = _unions([codes for codes, _ in lists.values()])
    parts = np.stack(
        [_at(_reciprocal(codes, k), place, 0.0) for (codes, _), place in zip(lists.values(), places, strict=True)]
    )
    relevant, counts = relevance(items, offsets, positives), np.diff(offsets)

    def quality(weights: NDArray[np.float64]) -> float:
        return _ndcg(np.tensordot(weights, parts, axes=1), relevant, counts, at)

    singles = [quality(row) for row in np.eye(len(parts))]
    weights, best = np.eye(len(parts))[int(np.argmax(singles))], max(singles)
    if best <= 0:
        return dict.fromkeys(lists, 1.0)
    for _ in range(_SWEEPS):
        before = best
        for route in range(len(parts)):
            for value in _GRID:
                tried = weights.copy()
                tried[route] = value
                found = quality(tried)
                if found > best + 1e-6:
                    weights, best = tried, found
        if best == before:
            break
    return dict(zip(lists, (weights / weights.max()).tolist(), strict=True))


def _unions(lists: list[Codes]) -> tuple[Codes, list[NDArray[np.intp]]]:
    """The items any list holds, ascending by row, −1 at the end; and where in each list they stand, −1 for nowhere."""
    together = np.concatenate(lists, axis=1)
    width = np.int64(max(int(together.max(initial=0)) + 2, 2))
    base = np.arange(len(together), dtype=np.int64)[:, None] * width
    keys = np.unique((base + together)[together >= 0])
    row = keys // width
    counts = np.bincount(row, minlength=len(together))
    starts = np.cumsum(counts) - counts
    column = np.arange(len(keys)) - starts[row]
    items = np.full((len(together), max(int(counts.max(initial=0)), 1)), -1, dtype=np.int32)
    items[row, column] = keys - row * width
    places = []
    for codes in lists:
        place = np.full(items.shape, -1, dtype=np.intp)
        rows, columns = np.nonzero(codes >= 0)
        slot = np.searchsorted(keys, rows * width + codes[rows, columns])
        place[rows, column[slot]] = columns
        places.append(place)
    return items, places


def _reciprocal(codes: Codes, k: float) -> NDArray[np.float64]:
    return np.broadcast_to(1.0 / (k + 1.0 + np.arange(codes.shape[1])), codes.shape)


def _at(values: NDArray[np.floating], place: NDArray[np.intp], absent: float) -> NDArray[np.floating]:
    return np.where(place >= 0, np.take_along_axis(values, np.maximum(place, 0), axis=1), absent)


def _wide(values: NDArray[_Number], width: int, fill: float) -> NDArray[_Number]:
    missing = width - values.shape[-1]
    if missing <= 0:
        return values
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)], constant_values=fill)


def _ndcg(scores: NDArray[np.float64], relevant: NDArray[np.bool_], counts: NDArray[np.int64], at: int) -> float:
    """Mean NDCG@at; the same ties as in `fuse`."""
    width = min(at, scores.shape[1])
    # Partition first: a full sort for every tried weight would take minutes on a large window.
    best = np.sort(np.argpartition(-scores, width - 1, axis=1)[:, :width], axis=1)
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    hits = np.take_along_axis(relevant, np.take_along_axis(best, order, axis=1), axis=1)
    return float(ndcg_at_k(hits, counts, at).mean())
