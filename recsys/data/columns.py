"""Raw columns to canonical types, vectorised: values, and a mask of the rows that do not fit for each reason.

Rules: ids and categories never pass through a float. A missing cell is null, in a numeric or time column so are `NA`,
`N/A`, `null` and `none`. NaN and infinity are null in a feature and refused in a label. Times without a zone are UTC.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.config import ColumnKind
from recsys.data.list_text import split_cells
from recsys.data.tables import ID_TYPE, KIND_TYPES, LABEL_TYPE, TIMESTAMP_TYPE, WINDOWS

__all__ = ["Kind", "Parsed", "Role", "Unfit", "parse"]

Kind = ColumnKind | Literal["id", "label", "flag", "position", "propensity", "window"]
Unit = Literal["auto", "s", "ms", "us", "ns", "text"]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
_GROUP_MARKS = {",": ",", ".": r"\.", "'": "['’]", " ": "[ \u00a0\u202f]"}
_INTEGER = r"^-?(\d{1,18}|[1-8]\d{18})$"  # what surely fits 64 bits
_MISSING = pa.array(["", "na", "n/a", "null", "none"], type=pa.large_string())
_TRUE = pa.array(["1", "true", "t", "yes", "y"], type=pa.large_string())
_FALSE = pa.array(["0", "false", "f", "no", "n"], type=pa.large_string())

_TICKS: dict[str, float] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# Since 1970, 10^11 s is the year 5138 and 10^11 ms is March 1973: present-day clocks fall clearly to one side.
_UNIT_EDGES = np.array([1e11, 1e14, 1e17])
_UNITS: tuple[Unit, ...] = ("s", "ms", "us", "ns")
_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999  # µs of the years 1 and 9999
# Tried on what is not ISO 8601, in this order; one form for the whole column.
_TIME_FORMS = tuple(
    f"{day}{time}"
    for day in ("%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d %b %Y", "%a, %d %b %Y", "%b %d, %Y")
    for time in ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H:%M:%S%z")
)


class Unfit(Exception):  # noqa: N818 - not an error of its own: the caller knows the file and raises a DataError
    """A whole column cannot play its part."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"found {found}, expected {expected}")


@dataclass(frozen=True, slots=True)
class Role:
    """The part a column plays.

    Attributes:
        name: Its canonical name.
        column: Its name in the files.
        kind: How it is read.
        required: Whether a row without it is rejected.
        separator: Splits the text of a `multi_categorical` cell.
        unit: Of timestamps.
        decimal: The decimal mark of numbers in text.
        thousands: The mark between groups of three digits of numbers in text.
    """

    name: str
    column: str
    kind: Kind
    required: bool = False
    separator: str = " "
    unit: Unit = "auto"
    decimal: str = "."
    thousands: str | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A column in its canonical type, shape (N,), and which rows do not fit, by what was expected of them."""

    values: pa.Array
    bad: dict[str, Mask] = field(default_factory=dict)


def parse(column: pa.Array, role: Role) -> Parsed:
    """Reads a raw column.

    Raises:
        Unfit: The column is of a type that cannot play this part.
    """
    parsed = _PARSERS[role.kind](_point_numbers(column, role), role)
    if not role.required:
        return parsed
    missing = _mask(pc.is_null(parsed.values))
    for mask in parsed.bad.values():
        missing &= ~mask
    return Parsed(
        parsed.values, {**parsed.bad, _EXPECTED[role.kind]: missing | parsed.bad.get(_EXPECTED[role.kind], False)}
    )


def _point_numbers(column: pa.Array, role: Role) -> pa.Array:
    """Numbers in text with a decimal point and no marks between their digits, which is how the parsers read them."""
    numeric = role.kind in ("numeric", "label", "position", "propensity", "timestamp")
    if not numeric or (role.decimal == "." and role.thousands is None) or not pa.types.is_large_string(column.type):
        return column
    text = pc.utf8_trim_whitespace(column)
    decimal, group = re.escape(role.decimal), _GROUP_MARKS.get(role.thousands or "", "")
    fits = pc.match_substring_regex(text, rf"^[+-]?(\d+|\d{{1,3}}({group}\d{{3}})+)?({decimal}\d*)?([eE][+-]?\d+)?$")
    plain = pc.replace_substring_regex(text, group, "") if group else text
    plain = pc.replace_substring(plain, role.decimal, ".")
    # With another decimal mark, a number with a point is none.
    foreign = pc.match_substring_regex(text, _NUMBER) if role.decimal != "." else pa.scalar(False)
    return pc.if_else(fits, plain, pc.if_else(foreign, "no number", column))


def _mask(values: pa.Array) -> Mask:
    return np.array(values.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _array(values: NDArray[Any], null: Mask, kind: pa.DataType) -> pa.Array:
    return pa.array(values, type=kind, mask=null)


def _id(column: pa.Array, role: Role) -> Parsed:
    kind = column.type
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        return Parsed(column.cast(ID_TYPE))
    if pa.types.is_null(kind) or pa.types.is_large_string(kind):
        return Parsed(column.cast(ID_TYPE))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return Parsed(column.cast(ID_TYPE))
        except pa.ArrowInvalid as error:
            raise Unfit("bytes that are not UTF-8", "ids as text or integers") from error
    raise Unfit(f"the type {kind}", "ids as text or integers (a float would merge large ids)")


def _category(column: pa.Array, role: Role) -> Parsed:
    kind = column.type
    if pa.types.is_floating(kind):
        return Parsed(_float_names(column))
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise Unfit(f"the type {kind}", "text or numbers")
    return Parsed(column.cast(pa.large_string()))


def _float_names(column: pa.Array) -> pa.Array:
    """Text of floats; whole ones without the `.0` that a null elsewhere in an integer column leaves behind."""
    values = column.cast(pa.float64())
    finite = pc.is_finite(values)
    whole = pc.and_(finite, pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2.0**53)))
    integers = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.large_string())
    others = pc.if_else(finite, values, None).cast(pa.large_string())
    return pc.coalesce(integers, others)


def _categories(column: pa.Array, role: Role) -> Parsed:
    null = _mask(pc.is_null(column))
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        texts = _category(column, role).values
        column = split_cells(texts, role.separator)
    else:
        column = column.cast(pa.large_list(kind.value_type))
    owners = pc.list_parent_indices(column)
    values = pc.utf8_trim_whitespace(_category(pc.list_flatten(column), role).values)
    keep = pc.fill_null(pc.not_equal(values, ""), False)
    owners, values = owners.filter(keep), values.filter(keep)
    counts = np.bincount(owners.to_numpy(zero_copy_only=False), minlength=len(column))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Parsed(
        pa.ListArray.from_arrays(pa.array(offsets), values, type=KIND_TYPES["multi_categorical"], mask=pa.array(null))
    )


def _floats(column: pa.Array) -> tuple[Floats, Mask, Mask]:
    """Numbers as float64 with their sign of infinity and NaN kept; which are missing; which are no numbers."""
    kind = column.type
    if pa.types.is_null(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_large_string(kind):
        return _text_floats(column)
    elif not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or kind == pa.bool_()
    ):
        raise Unfit(f"the type {kind}", "numbers")
    null = _mask(pc.is_null(column))
    values = column.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
    return values, null, np.zeros(len(column), dtype=np.bool_)


def _text_floats(column: pa.Array) -> tuple[Floats, Mask, Mask]:
    text = _stripped(column)
    null = _mask(pc.is_null(text))
    bad = np.zeros(len(text), dtype=np.bool_)
    try:
        values = text.cast(pa.float64())
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(text, _NUMBER)
        bad = _mask(pc.invert(fits))
        values = pc.if_else(fits, text, None).cast(pa.float64())
    return values.fill_null(0.0).to_numpy(zero_copy_only=False), null, bad


def _stripped(column: pa.Array) -> pa.Array:
    """Text without blanks around it; the ways of writing nothing are null."""
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.is_in(pc.utf8_lower(text), _MISSING), None, text)


def _number(column: pa.Array, role: Role) -> Parsed:
    values, null, bad = _floats(column)
    return Parsed(_array(values, null | bad | ~np.isfinite(values), pa.float64()), {_EXPECTED["numeric"]: bad})


def _label(column: pa.Array, role: Role) -> Parsed:
    values, null, bad = _floats(_truths(column))
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    bad |= ~np.isfinite(narrow)
    return Parsed(_array(narrow, null | bad, LABEL_TYPE), {_EXPECTED["label"]: bad})


def _truths(column: pa.Array) -> pa.Array:
    """Text with true and false, the way tables write booleans, as 1 and 0."""
    if not pa.types.is_large_string(column.type):
        return column
    text = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    return pc.if_else(pc.equal(text, "true"), "1", pc.if_else(pc.equal(text, "false"), "0", column))


def _position(column: pa.Array, role: Role) -> Parsed:
    values, null, bad = _floats(column)
    bad |= ~((values >= 0) & (values < 2**31) & (np.floor(values) == values))
    return Parsed(
        _array(np.where(bad, 0, values).astype(np.int32), null | bad, pa.int32()), {_EXPECTED["position"]: bad}
    )


def _propensity(column: pa.Array, role: Role) -> Parsed:
    values, null, bad = _floats(column)
    bad |= ~null & ~((values > 0) & (values <= 1))
    narrow = np.where(bad, 0, values).astype(np.float32)
    return Parsed(_array(narrow, null | bad, pa.float32()), {_EXPECTED["propensity"]: bad})


def _window(column: pa.Array, role: Role) -> Parsed:
    text = pc.utf8_lower(_stripped(_category(column, role).values))
    codes = pc.index_in(text, pa.array(WINDOWS, pa.large_string()))
    null, bad = _mask(pc.is_null(text)), _mask(pc.and_(pc.is_null(codes), pc.is_valid(text)))
    return Parsed(_array(codes.fill_null(0).to_numpy(), null | bad, pa.int8()), {_EXPECTED["window"]: bad})


def _flag(column: pa.Array, role: Role) -> Parsed:
    if pa.types.is_boolean(column.type):
        return Parsed(column)
    if pa.types.is_nested(column.type) or pa.types.is_temporal(column.type):
        raise Unfit(f"the type {column.type}", "0 and 1, or true and false")
    text = pc.utf8_lower(_stripped(_category(column, role).values))
    true, false, null = _mask(pc.is_in(text, _TRUE)), _mask(pc.is_in(text, _FALSE)), _mask(pc.is_null(text))
    bad = ~(true | false | null)
    return Parsed(_array(true, null | bad, pa.bool_()), {_EXPECTED["flag"]: bad})


def _timestamp(column: pa.Array, role: Role) -> Parsed:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return Parsed(
            column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False).cast(TIMESTAMP_TYPE)
        )
    if pa.types.is_large_string(column.type) and _is_text(column, role.unit):
        return _moments(column)
    return _clock(column, "auto" if role.unit == "text" else role.unit)


def _is_text(column: pa.Array, unit: Unit) -> bool:
    """Whether most cells of a column with that unit are dates rather than numbers."""
    if unit != "auto":
        return unit == "text"
    text = _stripped(column)
    numbers = pc.sum(pc.match_substring_regex(text, _NUMBER)).as_py() or 0
    return bool(2 * numbers < len(text) - text.null_count)


def _clock(column: pa.Array, unit: Unit) -> Parsed:
    """Numbers since 1970.

    A guessed unit holds for the whole column: a row whose magnitude says another one is refused rather than misplaced.
    """
    values, null, bad = _floats(column)
    known = ~null & ~bad & np.isfinite(values)
    bad |= ~null & ~known
    scale = np.searchsorted(_UNIT_EDGES, np.abs(values), side="right")
    odd = np.zeros(len(values), dtype=np.bool_)
    if unit == "auto":
        guess = int(np.median(scale[known & (values != 0)])) if (known & (values != 0)).any() else 0
        unit = _UNITS[guess]
        odd = known & (scale != guess)
    micros_about = values * _TICKS[unit]
    odd |= known & ~((micros_about >= _EARLIEST) & (micros_about <= _LATEST))
    micros = _micros(column, np.where(known & ~odd, values, 0.0), unit)
    expected = f"expected {_UNIT_NAMES[unit]} since 1970, the unit of this column"
    return Parsed(
        _array(micros, null | bad | odd, pa.int64()).cast(TIMESTAMP_TYPE), {_EXPECTED["timestamp"]: bad, expected: odd}
    )


def _micros(column: pa.Array, values: Floats, unit: Unit) -> NDArray[np.int64]:
    """Microseconds, exact where the cells are integers: a float64 holds no nanosecond of this century."""
    micros = np.rint(values * _TICKS[unit]).astype(np.int64)
    exact, integers = _integers(column)
    exact &= values != 0
    whole = np.where(exact, integers, 0)
    whole = whole // 1000 if unit == "ns" else whole * int(_TICKS[unit])
    return np.where(exact, whole, micros)


def _integers(column: pa.Array) -> tuple[Mask, NDArray[np.int64]]:
    """Which cells are integers, and those."""
    if pa.types.is_integer(column.type):
        whole = column.cast(pa.int64(), safe=False)
    elif pa.types.is_large_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        text = pc.if_else(pc.match_substring_regex(text, _INTEGER), text, None)
        whole = text.cast(pa.int64())
    else:
        return np.zeros(len(column), dtype=np.bool_), np.zeros(len(column), dtype=np.int64)
    return _mask(pc.is_valid(whole)), whole.fill_null(0).to_numpy(zero_copy_only=False)


def _moments(column: pa.Array) -> Parsed:
    """Dates and times as text: ISO 8601 first, then one other form for all that is left."""
    text = _stripped(column)
    text = pc.replace_substring_regex(text, r"\s*(UTC|GMT)$", "Z")
    null = _mask(pc.is_null(text))
    series = pd.Series(text.to_numpy(zero_copy_only=False), dtype=object)
    moments = pd.to_datetime(series, format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
    left = moments.isna().to_numpy() & ~null
    if left.any():
        moments = moments.copy()
        moments[left] = _other_form(series[left])
    bad = moments.isna().to_numpy() & ~null
    micros = moments.fillna(pd.Timestamp(0, tz="UTC")).astype("int64").to_numpy()
    return Parsed(_array(micros, null | bad, pa.int64()).cast(TIMESTAMP_TYPE), {_EXPECTED["timestamp"]: bad})


def _other_form(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Reads by the form that fits most cells.

    Raises:
        Unfit: Day first and month first fit equally well and disagree.
    """
    best, fits, rival = pd.Series(pd.NaT, index=series.index, dtype="datetime64[us, UTC]"), 0, None
    for form in _TIME_FORMS:
        moments = pd.to_datetime(series, format=form, utc=True, errors="coerce").dt.as_unit("us")
        count = int(moments.notna().sum())
        if count > fits:
            best, fits, rival = moments, count, None
        elif count == fits > 0 and not moments.equals(best):
            rival = moments
    if rival is not None:
        example = series[(best != rival) & best.notna()].iloc[0]
        raise Unfit(f"{example!r}, which is one day or another", "dates with the year first, such as 2024-12-31")
    return best


_PARSERS: dict[Kind, Callable[[pa.Array, Role], Parsed]] = {
    "id": _id,
    "label": _label,
    "flag": _flag,
    "position": _position,
    "propensity": _propensity,
    "window": _window,
    "categorical": _category,
    "multi_categorical": _categories,
    "numeric": _number,
    "text": _category,
    "timestamp": _timestamp,
}
_EXPECTED: dict[Kind, str] = {
    "id": "expected an id",
    "label": "expected a finite number",
    "flag": "expected 0 or 1",
    "position": "expected a whole number from 0",
    "propensity": "expected a probability above 0",
    "window": f"expected one of {', '.join(WINDOWS)}",
    "categorical": "expected a value",
    "multi_categorical": "expected values",
    "numeric": "expected a number",
    "text": "expected text",
    "timestamp": "expected a date and time",
}
