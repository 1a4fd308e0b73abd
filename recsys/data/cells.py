"""What the readers of every kind of column share: roles, plain Arrow types, missing values, numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.config import NULL_VALUES, ColumnKind, TimestampUnit

__all__ = [
    "EXACT",
    "NUMBER",
    "NUMBER_KINDS",
    "ColumnTypeError",
    "Floats",
    "Kind",
    "Mask",
    "Parsed",
    "Role",
    "WrongTypeError",
    "as_floats",
    "as_mask",
    "distinct",
    "masked_array",
    "trimmed",
]

Kind = ColumnKind | Literal["id", "label", "flag", "position", "propensity", "window"]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
NUMBER_KINDS: tuple[Kind, ...] = ("numeric", "label", "position", "propensity", "timestamp")
"""Kinds whose text may hold numbers, written as the decimal and thousands marks of the role say."""
_FEW = 1000
"""Cells of a column that is read as it is: below, looking for repeats costs more than it saves."""
EXACT = 2.0**53
"""Every whole number below it is a float64 of its own."""


class ColumnTypeError(Exception):
    """A whole column cannot play its part. The caller knows the file and raises an error that names it."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"found {found}, expected {expected}")
        self.found = found


class WrongTypeError(Exception):
    """A reader has no values of this Arrow type to read; `parse` says which column type it was."""


@dataclass(frozen=True, slots=True)
class Role:
    """The part a column plays and how its values are read.

    Attributes:
        name: Its canonical name.
        column: Its name in the files.
        kind: How it is read.
        required: Whether a row without it is rejected.
        separator: Splits the text of a `multi_categorical` cell.
        unit: Of timestamps.
        null_values: What stands for a missing value, without regard to case; an empty cell always does.
        form: Of timestamps: the `strptime` form of text that is not ISO 8601.
        guessed: Of timestamps: whether `unit` was told by the values, so that a value of another size is refused.
        strip_zeros: Of ids: whether `12.0` is the id `12`.
        decimal: The decimal mark of numbers in text.
        thousands: The mark between groups of three digits of numbers in text.
        settled: Whether the fields above hold for every further value. Until then they are chosen by the whole column.
    """

    name: str
    column: str
    kind: Kind
    required: bool = False
    separator: str = " "
    unit: TimestampUnit = "auto"
    null_values: tuple[str, ...] = NULL_VALUES
    form: str | None = None
    guessed: bool = False
    strip_zeros: bool = False
    decimal: str = "."
    thousands: str | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """A column in its canonical type, shape (N,).

    Attributes:
        values: The values.
        bad: Which rows do not fit, by what was expected of them.
        role: The role as the values settled it: reading one value by it alone gives what it is among all of them.
    """

    values: pa.Array
    role: Role
    bad: dict[str, Mask] = field(default_factory=dict)


def as_mask(values: pa.Array) -> Mask:
    """Truth values, null is false, shape (N,)."""
    return np.array(values.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def masked_array(values: NDArray[Any], null: Mask, kind: pa.DataType) -> pa.Array:
    """An Arrow array with nulls where the mask says."""
    return pa.array(values, type=kind, mask=null)


def distinct(text: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """The different values of a column and the place of each cell among them; the column and `None` if few repeat."""
    if len(text) < _FEW:
        return text, None
    coded = text.dictionary_encode()
    return (coded.dictionary, coded.indices) if 2 * len(coded.dictionary) < len(text) else (text, None)


def trimmed(text: pa.Array, null_values: Sequence[str]) -> pa.Array:
    """Text without blanks around it; what stands for a missing value is null."""
    text = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(pc.utf8_lower(text), options=_missing(tuple(null_values))), None, text)


@lru_cache(maxsize=64)
def _missing(null_values: tuple[str, ...]) -> pc.SetLookupOptions:
    words = ["", *(value.strip().lower() for value in null_values)]
    return pc.SetLookupOptions(pa.array(words, pa.large_string()))


def as_floats(column: pa.Array, role: Role) -> tuple[Floats, Mask, Mask]:
    """Numbers as float64 with their sign of infinity and NaN kept; which are missing; which are no numbers.

    Raises:
        WrongTypeError: The type holds no numbers.
    """
    kind = column.type
    if pa.types.is_null(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_large_string(kind):
        return _text_floats(trimmed(column, role.null_values))
    elif pa.types.is_decimal(kind):
        # Arrow's own cast rounds twice: 3 of a decimal256 becomes 3.0000000000000004.
        column = column.cast(pa.large_string()).cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise WrongTypeError
    null = as_mask(pc.is_null(column))
    values = column.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
    return values, null, np.zeros(len(column), dtype=np.bool_)


def _text_floats(text: pa.Array) -> tuple[Floats, Mask, Mask]:
    null = as_mask(pc.is_null(text))
    bad = np.zeros(len(text), dtype=np.bool_)
    try:
        values = text.cast(pa.float64())
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(text, NUMBER)
        bad = as_mask(pc.invert(fits))
        values = pc.if_else(fits, text, None).cast(pa.float64())
    return values.fill_null(0.0).to_numpy(zero_copy_only=False), null, bad
