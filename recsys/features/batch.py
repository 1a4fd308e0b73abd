"""The arrays that requests, routes, rankers and the runtime exchange.

Names: `B` requests, `C` candidates of a request, `L` history length, `R` routes, `N` items of the catalogue.
Item codes are `int32` positions in the catalogue; −1 pads. Model inputs travel in one flat mapping whose keys say their
side: `user.*` and `context.*` are `(B,)` or `(B, W)`, `history.*` are `(B, L)` or `(B, L, W)`, `item.*` and `route.*`
are `(B, C)` or `(B, C, W)`. `int64` arrays are embedding rows (0 padding, 1 out-of-vocabulary), `float32` are numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "Codes", "Field", "Floats", "InputSpec", "QueryBatch", "Side"]

Codes = NDArray[np.int32]
Floats = NDArray[np.float32]
Arrays = Mapping[str, NDArray[np.generic]]
Result = TypeVar("Result")
Side = Literal["user", "context", "history", "item", "route"]


@dataclass(frozen=True, slots=True)
class Field:
    """One model input.

    Attributes:
        name: `side.column`, the key in the input mapping.
        rows: embedding rows for an index field; 0 for a numeric field.
        width: values per position: 1 for a scalar (no last axis), else the padded length of a multi-valued field.
        table: name of the embedding table; fields that name the same table share it, as `history.item_id` and
            `item.item_id` do.
        missing: of a numeric field, what a missing value becomes.
    """

    name: str
    rows: int
    width: int
    table: str
    missing: float = 0.0

    @property
    def side(self) -> Side:
        """The part of the name before the first dot."""
        return self.name.partition(".")[0]  # type: ignore[return-value]

    @property
    def is_index(self) -> bool:
        """True for embedding rows, False for numbers."""
        return self.rows > 0

    def is_known(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """`(…)` where encoded values `(…)` or `(…, W)` say something.

        A row of their own, or of several values one with such a row; a number other than what stands for a missing one.
        """
        known: NDArray[np.bool_]
        if self.is_index:
            known = np.asarray(values, dtype=np.int64) > 1
        else:
            known = np.asarray(values, dtype=np.float32) != np.float32(self.missing)
        return np.asarray(known.any(axis=-1)) if self.width > 1 else known


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Every input of a model, in a fixed order, and the history length."""

    fields: tuple[Field, ...]
    history_length: int

    def side(self, *sides: Side) -> tuple[Field, ...]:
        """The fields of these sides, in order."""
        return tuple(f for f in self.fields if f.side in sides)


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """What is known of B requests before any item is looked at.

    Attributes:
        history: `(B, H)` item codes, oldest first, most recent last, padded with −1 **on the right**; H is the longest
            history of the batch (at least 1), never truncated here.
        lengths: `(B,)` int32 number of real entries in each row of `history`.
        features: `user.*` and `context.*` inputs, encoded.
        memo: what retrievers worked out for this batch; see `once`.
    """

    history: Codes
    lengths: NDArray[np.int32]
    features: Arrays
    memo: dict[object, object] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        """Number of requests B."""
        return len(self.lengths)

    def once(self, owner: object, work: Callable[[], Result]) -> Result:
        """What `work` gives, done once for this batch and owner: a route that retrieves also scores candidates."""
        if owner not in self.memo:
            self.memo[owner] = work()
        return cast(Result, self.memo[owner])

    def recent(self, length: int) -> Codes:
        """`(B, length)` the last `length` items of each history, oldest first, padded with −1 on the right."""
        start = np.maximum(self.lengths - length, 0)
        column = start[:, None] + np.arange(length, dtype=np.int32)
        inside = column < self.lengths[:, None]
        picked = np.take_along_axis(self.history, np.minimum(column, self.history.shape[1] - 1), axis=1)
        return np.where(inside, picked, np.int32(-1))

    def take(self, rows: NDArray[np.intp] | slice) -> "QueryBatch":
        """The requests at these positions, with the history cut to their longest."""
        lengths = self.lengths[rows]
        longest = max(int(lengths.max(initial=1)), 1)
        return QueryBatch(self.history[rows, :longest], lengths, {k: v[rows] for k, v in self.features.items()})
