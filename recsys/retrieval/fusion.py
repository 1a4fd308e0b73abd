"""The lists of several routes made into one, by weighted reciprocal rank (Cormack 2009)."""

from collections.abc import Mapping, Sequence
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
    fused = _fused(_reciprocal(places, k), np.array([weights[name] for name in lists]))
    width = min(candidates, items.shape[1])
    # Items ascend in a row, so a stable sort gives ties to the smaller code.
    order = np.argsort(-fused, axis=1, kind="stable")[:, :width]
    scores = np.take_along_axis(fused, order, axis=1)
    kept = scores > 0
    codes = np.where(kept, np.take_along_axis(items, order, axis=1), np.int32(-1))
    ranks = np.where(kept, np.take_along_axis(places, order[None], axis=2), np.int32(-1))
    return Candidates(
        _wide(codes, candidates, -1),
        _wide(np.where(kept, scores, np.float32(-np.inf)), candidates, -np.inf),
        tuple(lists),
        _wide(ranks, candidates, -1),
        _wide(_at([scores for _, scores in lists.values()], ranks), candidates, -np.inf),
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
        By route; the largest is 1. Equal weights when there is no request or no list holds a positive.
    """
    if len(offsets) == 1:
        return dict.fromkeys(lists, 1.0)
    items, places = _unions([codes for codes, _ in lists.values()])
    parts = _reciprocal(places, k)
    relevant, counts = relevance(items, offsets, positives), np.diff(offsets)

    def quality(weights: NDArray[np.float64]) -> float:
        return _ndcg(_fused(parts, weights), relevant, counts, at)

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


def _reciprocal(places: NDArray[np.int32], k: float) -> NDArray[np.float64]:
    """`(R, B, U)`; 0 where the route has not found the item."""
    return np.where(places >= 0, 1.0 / (k + 1.0 + np.maximum(places, 0)), 0.0)


def _fused(parts: NDArray[np.float64], weights: NDArray[np.float64]) -> Floats:
    """`(B, U)` Σ_route weight · part; 0 where no route with a weight has found the item.

    Rounded to what is returned, so that the order is that of the visible scores, and so that items with the same ranks
    by other routes tie although their sums differ in the last bit.
    """
    return np.tensordot(weights, parts, axes=1).astype(np.float32)


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
