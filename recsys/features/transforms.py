"""Transforms of one column: fitted on the training window, then pure functions from an Arrow column to an array.

A transform is a frozen value. `fit(config, column)` makes one; `encode(column)` gives embedding rows (`int64`:
0 padding, 1 out-of-vocabulary or missing) or numbers (`float32`); `rows` and `width` describe the result; `state()` is
JSON that `restore(state, vocabulary)` takes back. `column` is a plain Arrow array. Encoding never raises on an
unseen, missing or infinite value; a value of the wrong type raises `DataError`.
"""

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.errors import DataError
from recsys.features.config import (
    Categorical,
    Hashed,
    Log,
    MinMax,
    MultiCategorical,
    Quantile,
    Standard,
    TimePart,
    Transform,
)

__all__ = ["TRANSFORMS", "FittedTransform", "fit_transform", "restore_transform"]

State = dict[str, Any]
Array = NDArray[np.generic]
_OOV = 1
_FIRST = 2
"""Rows 0 and 1 are padding and out-of-vocabulary."""
_SMALL = 64
"""So few values, or few beside the vocabulary, are looked up in a dictionary that is made once: Arrow would hash the
whole vocabulary every time."""
_SQUARABLE = 1e100
_FARTHEST = 1e6
"""Deviations from the mean, at most: what lies beyond is a broken value, and would make sums over items infinite."""


class FittedTransform(Protocol):
    """See the module's docstring."""

    kind: ClassVar[str]

    @property
    def rows(self) -> int:
        """Embedding rows; 0 for numbers."""
        ...

    @property
    def width(self) -> int:
        """Values per position."""
        ...

    @property
    def vocabulary(self) -> pa.Array | None:
        """The values with a row of their own, in row order."""
        ...

    def encode(self, column: pa.Array) -> Array:
        """`(n,)` or `(n, width)`."""
        ...

    def state(self) -> State:
        """JSON-able numbers."""
        ...


class _NoVocabulary:
    @property
    def vocabulary(self) -> None:
        return None


class _Scalar:
    @property
    def width(self) -> int:
        return 1


class _Numeric(_NoVocabulary, _Scalar):
    @property
    def rows(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class _Categorical(_Scalar):
    kind: ClassVar[str] = "categorical"
    vocabulary: pa.Array
    known: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def fit(cls, config: Categorical, column: pa.Array) -> Self:
        return cls(_frequent(_strings(column), config.min_count))

    @classmethod
    def restore(cls, state: State, vocabulary: pa.Array) -> Self:
        return cls(vocabulary)

    def state(self) -> State:
        return {}

    @property
    def rows(self) -> int:
        return _FIRST + len(self.vocabulary)

    def encode(self, column: pa.Array) -> Array:
        return _row_of(_strings(column), self.vocabulary, self.known)


@dataclass(frozen=True, slots=True)
class _MultiCategorical:
    kind: ClassVar[str] = "multi_categorical"
    vocabulary: pa.Array
    width: int
    known: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def fit(cls, config: MultiCategorical, column: pa.Array) -> Self:
        longest = pc.max(pc.list_value_length(_lists(column))).as_py() or 1
        # At least 2: a width of 1 would mean a single-valued field without its last axis.
        width = max(min(config.max_length, longest), 2)
        return cls(_frequent(_strings(pc.list_flatten(_lists(column))), config.min_count), width)

    @classmethod
    def restore(cls, state: State, vocabulary: pa.Array) -> Self:
        return cls(vocabulary, int(state["width"]))

    def state(self) -> State:
        return {"width": self.width}

    @property
    def rows(self) -> int:
        return _FIRST + len(self.vocabulary)

    def encode(self, column: pa.Array) -> Array:
        lists = _lists(column)
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
        values = _strings(pc.list_flatten(lists))
        rows = np.where(
            pc.is_null(values).to_numpy(zero_copy_only=False), 0, _row_of(values, self.vocabulary, self.known)
        )
        owner = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        kept = place < self.width
        encoded = np.zeros((len(lengths), self.width), dtype=np.int64)
        encoded[owner[kept], place[kept]] = rows[kept]
        return encoded


@dataclass(frozen=True, slots=True)
class _Hashed(_NoVocabulary, _Scalar):
    """BLAKE2b of the UTF-8 text, 8 bytes little-endian, modulo the buckets: the same on every machine."""

    kind: ClassVar[str] = "hashed"
    buckets: int

    @classmethod
    def fit(cls, config: Hashed, column: pa.Array) -> Self:
        return cls(config.buckets)

    @classmethod
    def restore(cls, state: State, vocabulary: pa.Array | None) -> Self:
        return cls(int(state["buckets"]))

    def state(self) -> State:
        return {"buckets": self.buckets}

    @property
    def rows(self) -> int:
        return _FIRST + self.buckets

    def encode(self, column: pa.Array) -> Array:
        coded = _strings(column).dictionary_encode()
        hashes = [self._row(text) for text in coded.dictionary.to_pylist()]
        rows = np.array([*hashes, _OOV], dtype=np.int64)
        encoded: NDArray[np.int64] = rows[pc.fill_null(coded.indices, len(hashes)).to_numpy()]
        return encoded

    def _row(self, text: str) -> int:
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return _FIRST + int.from_bytes(digest, "little") % self.buckets


@dataclass(frozen=True, slots=True)
class _Standard(_Numeric):
    kind: ClassVar[str] = "standard"
    mean: float
    deviation: float

    @classmethod
    def fit(cls, config: Standard, column: pa.Array) -> Self:
        return cls(*_moments(_numbers(column)))

    @classmethod
    def restore(cls, state: State, vocabulary: pa.Array | None) -> Self:
        return cls(float(state["mean"]), float(state["deviation"]))

    def state(self) -> State:
        return {"mean": self.mean, "deviation": self.deviation}

    def encode(self, column: pa.Array) -> Array:
        return _standardised(_numbers(column), self.mean, self.deviation)


@dataclass(frozen=True, slots=True)
class _Log(_Numeric):
    kind: ClassVar[str] = "log"
    mean: float
    deviation: float

    @classmethod
    def fit(cls, config: Log, column: pa.Array) -> Self:
        return cls(*_moments(_signed_log(_numbers(column))))

    @classmethod
    def restore(cls, state: State, vocabulary: pa.Array | None) -> Self:
        return cls(float(state["mean"]), float(state["deviation"]))

    def state(self) -> State:
        return {"mean": self.mean, "deviation": self.deviation}

    def encode(self, column: pa.Array) -> Array:
        return _standardised(_signed_log(_numbers(column)), self.mean, self.deviation)


@dataclass(frozen=True, slots=True)
class _MinMax(_Numeric):
    kind: ClassVar[str] = "min_max"
    low: float
    high: float
    mean: float

    @classmethod
    def fit(cls, config: MinMax, column: pa.Array) -> Self:
        values = _numbers(column)
        values = values[np.isfinite(values)]
        return cls(float(values.min()), float(values.max()), _moments(values)[0]) if len(values) else cls(0.0, 1.0, 0.0)

    @classmethod
    def restore(cls, state: State, vocabulary: pa.Array | None) -> Self:
        return cls(float(state["low"]), float(state["high"]), float(state["mean"]))

    def state(self) -> State:
        return {"low": self.low, "high": self.high, "mean": self.mean}

    def encode(self, column: pa.Array) -> Array:
        values = _numbers(column)
        values = np.where(np.isfinite(values), values, self.mean)
        # In halves, since a difference of two finite numbers need not be finite.
        spread = self.high / 2 - self.low / 2
        with np.errstate(over="ignore"):
            shares = (values / 2 - self.low / 2) / (spread if spread > 0 else 0.5)
        return np.clip(shares, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Quantile(_NoVocabulary, _Scalar):
    """Bucket i holds edge i−1 ≤ x < edge i; infinities fall into the outer buckets."""

    kind: ClassVar[str] = "quantile"
    edges: tuple[float, ...]

    @classmethod
    def fit(cls, config: Quantile, column: pa.Array) -> Self:
        values = _numbers(column)
        values = values[np.isfinite(values)]
        if not len(values):
            return cls(())
        shares = np.arange(1, config.buckets) / config.buckets
        return cls(tuple(np.unique(np.quantile(values, shares)).tolist()))

    @classmethod
    def restore(cls, state: State, vocabulary: pa.Array | None) -> Self:
        return cls(tuple(float(edge) for edge in state["edges"]))

    def state(self) -> State:
        return {"edges": list(self.edges)}

    @property
    def rows(self) -> int:
        return _FIRST + len(self.edges) + 1

    def encode(self, column: pa.Array) -> Array:
        values = _numbers(column)
        buckets = np.searchsorted(np.asarray(self.edges), values, side="right") + _FIRST
        return np.where(np.isnan(values), _OOV, buckets).astype(np.int64)


_PARTS = {
    "hour": (pc.hour, 0, 24),
    "weekday": (pc.day_of_week, 0, 7),
    "day": (pc.day, 1, 31),
    "month": (pc.month, 1, 12),
    "year": (pc.year, 1970, 130),
}
"""Part of a timestamp: its function, first value and number of values; 1969 and 2100 are out-of-vocabulary years."""


@dataclass(frozen=True, slots=True)
class _TimePart(_NoVocabulary, _Scalar):
    kind: ClassVar[str] = "time"
    part: str

    @classmethod
    def fit(cls, config: TimePart, column: pa.Array) -> Self:
        return cls(config.part)

    @classmethod
    def restore(cls, state: State, vocabulary: pa.Array | None) -> Self:
        return cls(str(state["part"]))

    def state(self) -> State:
        return {"part": self.part}

    @property
    def rows(self) -> int:
        return _FIRST + _PARTS[self.part][2]

    def encode(self, column: pa.Array) -> Array:
        function, first, count = _PARTS[self.part]
        values = pc.fill_null(function(_times(column)), first - 1).to_numpy() - first
        return np.where((values >= 0) & (values < count), values + _FIRST, _OOV).astype(np.int64)


_Fitted = (
    type[_Categorical]
    | type[_MultiCategorical]
    | type[_Hashed]
    | type[_Standard]
    | type[_Log]
    | type[_MinMax]
    | type[_Quantile]
    | type[_TimePart]
)
TRANSFORMS: dict[str, _Fitted] = {
    "categorical": _Categorical,
    "multi_categorical": _MultiCategorical,
    "hashed": _Hashed,
    "standard": _Standard,
    "log": _Log,
    "min_max": _MinMax,
    "quantile": _Quantile,
    "time": _TimePart,
}
"""Every transform by the kind a configuration gives it."""


def fit_transform(config: Transform, column: pa.Array) -> FittedTransform:
    """The transform of a configuration, fitted on a column. Raises `DataError` when the values have the wrong type."""
    fitted: FittedTransform = TRANSFORMS[config.kind].fit(config, column)  # type: ignore[arg-type]
    return fitted


def restore_transform(kind: str, state: State, vocabulary: pa.Array | None) -> FittedTransform:
    """The transform that `state()` and `vocabulary` were taken from. Raises `KeyError` for an unknown kind or state."""
    return TRANSFORMS[kind].restore(state, vocabulary)


def _frequent(values: pa.Array, min_count: int) -> pa.Array:
    """Values seen often enough, most frequent first, ties in order of code points."""
    counts = pc.drop_null(values).value_counts()
    if not len(counts):
        return pa.array([], pa.large_string())
    kept = pa.table({"value": counts.field("values"), "count": counts.field("counts")})
    kept = kept.filter(pc.greater_equal(kept["count"], min_count))
    kept = kept.sort_by([("count", "descending"), ("value", "ascending")])
    return kept["value"].combine_chunks()


def _row_of(values: pa.Array, vocabulary: pa.Array, known: dict[str, int]) -> NDArray[np.int64]:
    # A null is in no vocabulary, so it becomes out-of-vocabulary like every unknown value.
    if len(values) <= max(_SMALL, len(vocabulary) // 4):
        if not known:
            known.update({text: row for row, text in enumerate(vocabulary.to_pylist(), start=_FIRST)})
        return np.array([known.get(text, _OOV) for text in values.to_pylist()], dtype=np.int64)
    found = pc.index_in(values, value_set=vocabulary)
    rows: NDArray[np.int64] = pc.fill_null(found, _OOV - _FIRST).to_numpy().astype(np.int64) + _FIRST
    return rows


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    # Squares of numbers near 10^308 overflow; in units of the largest nothing does.
    unit = float(np.abs(values).max())
    unit = unit if unit > _SQUARABLE else 1.0
    deviation = float((values / unit).std()) * unit
    return float((values / unit).mean()) * unit, deviation if deviation > 0 and math.isfinite(deviation) else 1.0


def _standardised(values: NDArray[np.float64], mean: float, deviation: float) -> NDArray[np.float32]:
    # In halves, since a difference of two finite numbers need not be finite; what still overflows is far away.
    with np.errstate(over="ignore"):
        scores = (values / 2 - mean / 2) / (deviation / 2)
    return np.where(np.isfinite(values), np.clip(scores, -_FARTHEST, _FARTHEST), 0.0).astype(np.float32)


def _signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.copysign(np.log1p(np.abs(values)), values)
    return logs


def _strings(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_large_string(kind):
        return column
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise _wrong(column, "text")
    if pa.types.is_floating(kind):
        # 5.0 and 5 are one category, whichever type the file happened to give the column.
        text = pc.cast(column, pa.large_string())
        return pc.replace_substring_regex(text, r"\.0$", "")
    return pc.cast(column, pa.large_string())


def _lists(column: pa.Array) -> pa.Array:
    if _is_empty(column):
        return pa.nulls(len(column), pa.list_(pa.large_string()))
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise _wrong(column, "a list of text")
    return column


def _numbers(column: pa.Array) -> NDArray[np.float64]:
    """Nulls become NaN."""
    if _is_empty(column):
        return np.full(len(column), np.nan)
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise _wrong(column, "a number")
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _times(column: pa.Array) -> pa.Array:
    if _is_empty(column):
        return pa.nulls(len(column), pa.timestamp("us", tz="UTC"))
    if not pa.types.is_timestamp(column.type):
        raise _wrong(column, "a timestamp")
    return column


def _is_empty(column: pa.Array) -> bool:
    """Whether nothing is in it: nulls have no type of their own, whatever the array says."""
    return int(column.null_count) == len(column)


def _wrong(column: pa.Array, expected: str) -> DataError:
    present = pc.drop_null(column)
    value = present[0].as_py() if len(present) else None
    return DataError(f"found {value!r} ({column.type}), expected {expected}")
