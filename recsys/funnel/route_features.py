"""What the routes think of a candidate, as model inputs: the only implementation, for training and for serving."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Codes, Field, Floats, QueryBatch
from recsys.funnel.match_features import MatchFeatures
from recsys.retrieval.base import Retriever
from recsys.retrieval.fusion import Candidates

__all__ = ["higher", "normalise", "route_feature_names", "route_features", "route_fields"]

_CLIP = 10.0
"""Standard deviations; bounds items far outside the fused list, such as uniformly drawn negatives."""


def route_feature_names(routes: Iterable[str], match: MatchFeatures | None = None) -> tuple[str, ...]:
    """Names of the route features, in order, and of the match features if there are any."""
    per_route = (f"route.{name}.{what}" for name in routes for what in ("rank", "score"))
    fusion = ("route.fusion.rank", "route.fusion.score")
    return (*per_route, *fusion, *(() if match is None else match.names))


def route_fields(routes: Iterable[str], match: MatchFeatures | None = None) -> tuple[Field, ...]:
    """The route features as numeric model inputs; arguments as in `route_feature_names`."""
    return tuple(Field(name, rows=0, width=1, table="") for name in route_feature_names(routes, match))


def route_features(
    retrievers: Mapping[str, Retriever],
    queries: QueryBatch,
    codes: Codes,
    candidates: Candidates,
    *,
    match: MatchFeatures | None = None,
) -> dict[str, Floats]:
    """Route features of any items: candidates, and in training also sampled negatives and positives no route found.

    `route.<name>.rank` is −log(1 + n), n the number of fused candidates that the route scores higher: 0 for its
    favourite, whatever the scale of its scores. `route.<name>.score` is the score the route gives the item, in standard
    deviations from the mean over the request's fused candidates (see `normalise`). `route.fusion.*` say the same of the
    fused score.

    Args:
        retrievers: by route name.
        queries: B requests.
        codes: `(B, C)` items to describe; −1 pads.
        candidates: the fused candidates of the same requests, which set the scale.
        match: adds what compares an item's content with the history's.

    Returns:
        `(B, C)` float32 by name, in the order of `route_feature_names`; 0 at padding.
    """
    fused = candidates.codes
    same = codes is fused
    padding = codes < 0
    result: dict[str, Floats] = {}
    for name, retriever in retrievers.items():
        scores = retriever.score(queries, fused if same else np.concatenate([fused, codes], axis=1))
        reference = scores[:, : fused.shape[1]]
        result |= _described(name, scores if same else scores[:, fused.shape[1] :], reference, padding)
    own = candidates.scores if same else _pick(candidates.scores, _locate(codes, fused), -np.inf)
    result |= _described("fusion", own, candidates.scores, padding)
    return result if match is None else {**result, **match(queries, codes)}


def _described(name: str, scores: Floats, reference: Floats, padding: NDArray[np.bool_]) -> dict[str, Floats]:
    ranked = -np.log1p(higher(scores, reference))
    return {
        f"route.{name}.rank": np.where(padding, 0.0, ranked).astype(np.float32),
        f"route.{name}.score": normalise(scores, reference, padding),
    }


def higher(scores: Floats, reference: Floats) -> NDArray[np.int64]:
    """How many of a row's reference scores are higher.

    Args:
        scores: `(B, C)`; −inf is below every finite score.
        reference: `(B, F)`; −inf does not count.

    Returns:
        `(B, C)`.
    """
    ascending = np.sort(reference, axis=1)
    if len(scores) == 1:
        return np.asarray(reference.shape[1] - np.searchsorted(ascending[0], scores, side="right"))
    above = [row.size - np.searchsorted(row, own, side="right") for row, own in zip(ascending, scores, strict=True)]
    return np.stack(above) if above else np.zeros(scores.shape, dtype=np.int64)


def normalise(scores: Floats, reference: Floats, padding: NDArray[np.bool_]) -> Floats:
    """Scores in standard deviations from the mean of each row's finite reference scores.

    Args:
        scores: `(B, C)`; −inf means the route would never return the item: it gets the lowest reference − 1.
        reference: `(B, F)` scores that set mean, deviation and lowest value.
        padding: `(B, C)` where the result is 0.

    Returns:
        `(B, C)` float32 within ±10; 0 throughout a row without finite reference scores, and 0 for finite scores where
        the reference does not vary.
    """
    finite = np.isfinite(reference)
    count = np.maximum(finite.sum(axis=1, keepdims=True), 1)
    known = np.where(finite, reference, 0.0).astype(np.float64)
    mean = known.sum(axis=1, keepdims=True) / count
    centred = np.where(finite, known - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    # A spread of rounding errors is no spread.
    flat = deviation <= 1e-6 * np.abs(known).max(axis=1, keepdims=True, initial=0.0)
    scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, deviation))
    floor = centred.min(axis=1, keepdims=True, initial=0.0) * scale - 1.0
    inside = np.isfinite(scores)
    value = np.where(inside, (np.where(inside, scores, 0.0) - mean) * scale, floor)
    value = np.where(padding | ~finite.any(axis=1, keepdims=True), 0.0, value)
    return np.clip(value, -_CLIP, _CLIP).astype(np.float32)


def _locate(codes: Codes, fused: Codes) -> NDArray[np.intp]:
    """`(B, C)` position of each code among the row's fused candidates, −1 where it is not one."""
    order = np.argsort(fused, axis=1, kind="stable")
    width = np.int64(max(fused.max(initial=0), codes.max(initial=0))) + 2
    base = np.arange(len(fused), dtype=np.int64)[:, None] * width + 1
    keys = (np.take_along_axis(fused, order, axis=1) + base).ravel()
    wanted = codes + base
    slot = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    found = (keys[slot] == wanted) & (codes >= 0)
    return np.where(found, order.ravel()[slot], -1)


def _pick(values: Floats, where: NDArray[np.intp], absent: float) -> Floats:
    picked = np.take_along_axis(values, np.maximum(where, 0), axis=1)
    return np.where(where >= 0, picked, np.float32(absent)).astype(np.float32)
