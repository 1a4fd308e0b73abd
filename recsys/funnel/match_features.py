"""How well a candidate fits the request's own past: content against content, as model inputs.

The routes say who else liked an item; these say whether it is the user's kind of item, which is what a ranker needs
beyond the routes. On the `route` side because they belong to a pair of request and candidate.
"""

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Arrays, Codes, Floats, QueryBatch

__all__ = ["MatchFeatures"]

_LENGTH = "route.history.length"
_MAX_ROWS = 1024
"""Larger vocabularies (ids above all) say who, not what kind, and their profiles would not fit in memory."""
_RECENT = 20
_DECAY = 0.85


class MatchFeatures:
    """Match features of a catalogue's items.

    `route.match.<field>` compares the candidate with the last 20 items of the history, an item one step further back
    weighing 0.85 of the next. Index fields: the cosine between the candidate's values and the history's weighted
    counts of values, in [0, 1]. Numeric fields: −|x − weighted mean|, at most 0. `route.history.length` is
    log(1 + length of the history) / 4.

    Args:
        item_features: encoded `item.*` arrays `(N, …)`; `item.item_id` and fields of many values are left out.

    Attributes:
        names: of the features, in order.
    """

    def __init__(self, item_features: Arrays) -> None:
        self._sets: dict[str, tuple[NDArray[np.int64], int]] = {}
        self._numbers: dict[str, Floats] = {}
        for field, values in item_features.items():
            if values.dtype.kind == "f" and values.ndim == 1:
                self._numbers[_name(field)] = values.astype(np.float32, copy=False)
            elif values.dtype.kind == "i" and field != "item.item_id":
                table = values.reshape(len(values), -1).astype(np.int64, copy=False)
                rows = int(table.max(initial=0)) + 1
                if rows <= _MAX_ROWS:
                    self._sets[_name(field)] = table, rows
        self.names = (*self._sets, *self._numbers, _LENGTH)

    def __call__(self, queries: QueryBatch, codes: Codes) -> dict[str, Floats]:
        """The features `(B, C)` float32 of items `(B, C)` by name; 0 at code −1 and for requests without history."""
        recent = queries.recent(_RECENT)
        age = np.minimum(queries.lengths, _RECENT)[:, None] - 1 - np.arange(_RECENT)
        weights = np.where(recent >= 0, _DECAY ** np.maximum(age, 0), 0.0)
        unknown = (codes < 0) | (queries.lengths == 0)[:, None]
        past, own = np.maximum(recent, 0), np.maximum(codes, 0)
        found = {name: _cosine(table[past], weights, table[own], rows) for name, (table, rows) in self._sets.items()}
        for name, values in self._numbers.items():
            found[name] = _closeness(values[past], weights, values[own])
        found[_LENGTH] = np.broadcast_to(np.log1p(queries.lengths.astype(np.float64))[:, None] / 4.0, codes.shape)
        return {name: np.where(unknown, 0.0, values).astype(np.float32) for name, values in found.items()}


def _name(field: str) -> str:
    return f"route.match.{field.partition('.')[2]}"


def _cosine(
    past: NDArray[np.int64], weights: NDArray[np.float64], own: NDArray[np.int64], rows: int
) -> NDArray[np.float64]:
    """`(B, C)` cosine of the candidates' values `(B, C, W)` with the past's weighted counts; row 0 is no value."""
    request = np.arange(len(past))[:, None, None]
    profile = np.zeros((len(past), rows))
    np.add.at(profile, (request, past), weights[:, :, None])
    profile[:, 0] = 0.0
    dot = profile[request, own].sum(axis=2)
    norms = np.sqrt((profile**2).sum(axis=1, keepdims=True)) * np.sqrt((own > 0).sum(axis=2))
    cosine: NDArray[np.float64] = np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)
    return cosine


def _closeness(past: Floats, weights: NDArray[np.float64], own: Floats) -> NDArray[np.float64]:
    """`(B, C)` −|x − weighted mean of the past|."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    mean = (past * weights).sum(axis=1, keepdims=True) / total
    distance: NDArray[np.float64] = np.abs(own - mean)
    return -distance
