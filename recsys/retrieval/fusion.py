"""The lists of several routes made into one: by reciprocal rank, by score, or by turns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.format import FusionSpec
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


def fuse(lists: Lists, spec: FusionSpec) -> Candidates:
    """Fuses ranked lists; ties go to the smaller code.

    A route of weight 0 adds no candidate, but says what it thinks of those of the others.

    Args:
        lists: codes `(B, K)` and scores `(B, K)` by route, best first, padded with −1; no item twice in a row.
        spec: what counts and how much; a weight for every list; C, the candidates kept.

    Returns:
        The best C items of each request, with the scores `spec.kind` gives: Σ_route weight / (k + rank), ranks from 1;
        Σ_route weight · scaled score; or 1 for the first taken, then less by 1 / C each.
    """
    items, places = _unions([codes for codes, _ in lists.values()])
    scores = [values for _, values in lists.values()]
    weights = np.array([spec.weights[name] for name in lists])
    fused = _scorer(places, scores, spec, spec.candidates)(weights)
    width = min(spec.candidates, items.shape[1])
    # Items ascend in a row, so a stable sort gives ties to the smaller code.
    order = np.argsort(-fused, axis=1, kind="stable")[:, :width]
    best = np.take_along_axis(fused, order, axis=1)
    kept = best > 0
    codes = np.where(kept, np.take_along_axis(items, order, axis=1), np.int32(-1))
    ranks = np.where(kept, np.take_along_axis(places, order[None], axis=2), np.int32(-1))
    return Candidates(
        _wide(codes, spec.candidates, -1),
        _wide(np.where(kept, best, np.float32(-np.inf)), spec.candidates, -np.inf),
        tuple(lists),
        _wide(ranks, spec.candidates, -1),
        _wide(_at(scores, ranks), spec.candidates, -np.inf),
    )


def fit_weights(
    lists: Lists, offsets: NDArray[np.int64], positives: Codes, spec: FusionSpec, *, at: int = 10
) -> dict[str, float]:
    """Weights that maximise the mean NDCG@`at` of the fused lists, by coordinate search from the best single route.

    Args:
        lists: as in `fuse`.
        offsets: `(B + 1,)` where each request's positives begin.
        positives: item codes of what followed; every request has at least one.
        spec: the rule; its weights are not looked at.
        at: depth of the metric.

    Returns:
        By route; the largest is 1. Equal weights when there is no request or no list holds a positive.
    """
    if len(offsets) == 1:
        return dict.fromkeys(lists, 1.0)
    items, places = _unions([codes for codes, _ in lists.values()])
    fused = _scorer(places, [scores for _, scores in lists.values()], spec, at)
    relevant, counts = relevance(items, offsets, positives), np.diff(offsets)

    def quality(weights: NDArray[np.float64]) -> float:
        return _ndcg(fused(weights), relevant, counts, at)

    singles = [quality(row) for row in np.eye(len(lists))]
    weights, best = np.eye(len(lists))[int(np.argmax(singles))], max(singles)
    if best <= 0:
        return dict.fromkeys(lists, 1.0)
    for _ in range(_SWEEPS):
        before = best
        for route in range(len(lists)):
            for value in _GRID:
                tried = weights.copy()
                tried[route] = value
                found = quality(tried)
                if found > best + 1e-6:
                    weights, best = tried, found
        if best == before:
            break
    return dict(zip(lists, (weights / weights.max()).tolist(), strict=True))


def _scorer(
    places: NDArray[np.int32], scores: Sequence[Floats], spec: FusionSpec, depth: int
) -> Callable[[NDArray[np.float64]], Floats]:
    """From weights `(R,)` to fused scores `(B, U)`: 0 where no route with a weight has found the item.

    Sums are rounded to what is returned, so that the order is that of the visible scores, and so that items with the
    same ranks by other routes tie although their sums differ in the last bit.
    """
    if spec.kind == "quota":
        return lambda weights: _taken(places, weights, depth)
    parts = _reciprocal(places, spec.k) if spec.kind == "rrf" else _scaled(places, scores, spec.scale)
    return lambda weights: np.tensordot(weights, parts, axes=1).astype(np.float32)


def _reciprocal(places: NDArray[np.int32], k: float) -> NDArray[np.float64]:
    """`(R, B, U)`; 0 where the route has not found the item."""
    return np.where(places >= 0, 1.0 / (k + 1.0 + np.maximum(places, 0)), 0.0)


def _scaled(places: NDArray[np.int32], scores: Sequence[Floats], scale: str) -> NDArray[np.float64]:
    """`(R, B, U)` scores above what is just below the list, in its range or deviations; 0 where it has not the item.

    Just below is one mean step between neighbours of the list, so that its last item counts for something. In a list
    whose scores are all alike every item has 1.
    """
    parts = np.zeros(places.shape)
    for part, where, values in zip(parts, places, scores, strict=True):
        real = np.isfinite(values)
        known = np.where(real, values, 0.0).astype(np.float64)
        count = np.maximum(real.sum(axis=1, keepdims=True), 1)
        lowest = np.where(real, known, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        spread = np.where(real, known, -np.inf).max(axis=1, keepdims=True, initial=-np.inf) - lowest
        step = spread / count
        centred = np.where(real, known - known.sum(axis=1, keepdims=True) / count, 0.0)
        unit = spread + step if scale == "range" else np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
        flat = ~(spread > 1e-6 * np.abs(known).max(axis=1, keepdims=True, initial=0.0))
        value = np.where(flat, 1.0, (known - lowest + step) / np.where(flat, 1.0, unit))
        part[:] = np.where(where >= 0, np.take_along_axis(value, np.maximum(where, 0), axis=1), 0.0)
    return parts


def _taken(places: NDArray[np.int32], weights: NDArray[np.float64], depth: int) -> Floats:
    """`(B, U)` 1 for the item taken first, less by 1 / depth for each that follows, 0 for those not taken.

    The n-th turn of a route, n from 0, comes at (n + ½) / weight; of two at once the first route goes first in even
    turns and last in odd ones. A route whose next item is taken already offers the one after.
    """
    turns = _turns(weights, depth)
    found = np.zeros(places.shape[1:], dtype=np.float32)
    far = np.iinfo(np.int32).max
    ordered = np.argsort(np.where(places >= 0, places, far), axis=2, kind="stable")
    counts = (places >= 0).sum(axis=2)
    for row in range(places.shape[1]):
        offers = [iter(ordered[route, row, : counts[route, row]].tolist()) for route in range(len(places))]
        taken: dict[int, None] = {}
        for route in turns:
            column = next((column for column in offers[route] if column not in taken), None)
            if column is not None:
                taken[column] = None
                if len(taken) == depth:
                    break
        found[row, list(taken)] = 1.0 - np.arange(len(taken)) / depth
    return found


def _turns(weights: NDArray[np.float64], depth: int) -> list[int]:
    """Whose turn it is, for as long as any route could have something to offer."""
    routes = np.flatnonzero(weights > 0)
    number = np.repeat(np.arange(depth), len(routes))
    route = np.tile(routes, depth)
    snake = np.where(number % 2 == 0, route, -route)
    turns: list[int] = route[np.lexsort((snake, (number + 0.5) / weights[route]))].tolist()
    return turns


def _unions(lists: Sequence[Codes]) -> tuple[Codes, NDArray[np.int32]]:
    """The items any list holds, and where they stand in each.

    Returns:
        items `(B, U)`, ascending by row, −1 at the end; places `(R, B, U)` from 0, −1 where the route has them not.
    """
    together = np.concatenate(lists, axis=1)
    lengths = [codes.shape[1] for codes in lists]
    route = np.repeat(np.arange(len(lists)), lengths)
    place = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
    rows, columns = np.nonzero(together >= 0)
    width = np.int64(together.max(initial=0)) + 1
    keys, slot = np.unique(rows * width + together[rows, columns], return_inverse=True)
    row = keys // width
    counts = np.bincount(row, minlength=len(together))
    column = np.arange(len(keys)) - (np.cumsum(counts) - counts)[row]
    items = np.full((len(together), max(int(counts.max(initial=0)), 1)), -1, dtype=np.int32)
    items[row, column] = keys - row * width
    places = np.full((len(lists), *items.shape), -1, dtype=np.int32)
    places[route[columns], rows, column[slot]] = place[columns]
    return items, places


def _at(values: Sequence[Floats], ranks: NDArray[np.int32]) -> Floats:
    """`(R, B, C)` what each route's `(B, K)` values hold at its ranks; −inf at −1."""
    starts = np.cumsum([0, *(part.shape[1] for part in values[:-1])], dtype=np.int32)
    where = np.maximum(ranks, 0) + starts[:, None, None]
    found = np.take_along_axis(np.concatenate(values, axis=1)[None], where, axis=2)
    return np.where(ranks >= 0, found, np.float32(-np.inf))


def _wide(values: NDArray[_Number], width: int, fill: float) -> NDArray[_Number]:
    if values.shape[-1] >= width:
        return values
    result = np.full((*values.shape[:-1], width), fill, dtype=values.dtype)
    result[..., : values.shape[-1]] = values
    return result


def _ndcg(scores: Floats, relevant: NDArray[np.bool_], counts: NDArray[np.int64], at: int) -> float:
    """Mean NDCG@at of what `fuse` would return.

    A score that is not negative orders like its bits; above the column they make keys without ties, whose best are the
    same however they are found. A full sort for every tried weight would take minutes on a large window.
    """
    columns = scores.shape[1]
    width = min(at, columns)
    keys = scores.view(np.int32).astype(np.int64) * columns + np.arange(columns - 1, -1, -1)
    best = np.sort(np.partition(keys, columns - width, axis=1)[:, columns - width :], axis=1)[:, ::-1]
    found, backwards = np.divmod(best, columns)
    hits = np.take_along_axis(relevant, columns - 1 - backwards, axis=1) & (found > 0)
    return float(ndcg_at_k(hits, counts, at).mean())
