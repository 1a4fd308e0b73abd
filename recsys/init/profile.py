"""What the values of one column are like, judged by the very parsers that ingest reads it with."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.columns import ColumnTypeError, Role, parse
from recsys.data.config import TimestampUnit
from recsys.data.files import DeclaredType
from recsys.data.list_text import LIST_FORM, parse_list
from recsys.data.plain import plain_array
from recsys.data.times import are_spreadsheet_days, guess_unit

__all__ = ["Form", "Profile", "Unit", "profile", "readable", "separator_of"]

Form = Literal["empty", "number", "time", "list", "text", "other"]
Unit = TimestampUnit
Floats = NDArray[np.float64]

_BAD = 0.01
"""Share of cells that may not fit: what ingest tolerates by default."""
_PROBE = 1000
_SEPARATORS = "|;,/"
_NOTHING = pa.array(["", "na", "n/a", "#n/a", "<na>", "null", "\\n", "none", "nan", "undefined"], pa.large_string())
_LISTS = Role("x", "x", "multi_categorical")
_CLOCKS: dict[Unit, tuple[float, float]] = {"s": (5e8, 5e9), "ms": (5e11, 5e12), "us": (5e14, 5e15), "ns": (5e17, 5e18)}
"""Numbers between 1985 and 2128 by unit."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A column.

    Attributes:
        name: Its name in the file.
        values: Its values as they are in the file.
        form: What most values are.
        rows: Rows looked at.
        nulls: Rows without a value.
        distinct: Different values.
        numbers: The finite numbers of a `number` column, else empty.
        unit: `text`, or the unit in which the numbers would be moments of our time; `None` where they cannot be.
        separator: Sets apart the values of a cell of a `list` column of text.
        members: Different values within the cells of a `list` column.
        once: Values that stand in one row only; not counted for lists.
        width: Mean length of a value as text.
        trouble: Why the column cannot be read as what it looks like.
        declared: The type that the header declares.
    """

    name: str
    values: pa.Array
    form: Form
    rows: int
    nulls: int
    distinct: int
    numbers: Floats
    unit: Unit | None = None
    separator: str | None = None
    members: int = 0
    once: int = 0
    width: float = 0.0
    trouble: str | None = None
    declared: DeclaredType | None = None

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return self.form == "number" and bool(len(self.numbers)) and bool((self.numbers % 1 == 0).all())

    @property
    def binary(self) -> bool:
        """Whether it holds 0 and 1 only, one of them at least."""
        return self.form == "number" and bool(len(self.numbers)) and bool(np.isin(self.numbers, (0, 1)).all())

    @property
    def constant(self) -> bool:
        """Whether every row says the same."""
        return self.distinct == 1 and self.nulls == 0 and self.rows > 1

    @property
    def unique(self) -> bool:
        """Whether no two rows share a value."""
        return self.distinct == self.rows - self.nulls and self.rows - self.nulls > 1

    def distinct_in(self, rows: int) -> int:
        """About how many different values a table of this many rows has, of which these are a sample.

        The estimator of Charikar et al. 2000: values seen once stand for √(rows / looked at) others, no more than the
        rows allow.
        """
        scale = max(rows / max(self.rows, 1), 1.0) ** 0.5
        return int(self.distinct - self.once + scale * self.once + 0.5)

    @property
    def clock(self) -> Unit:
        """The unit in which it is read as a time; small numbers count seconds, or the days of a spreadsheet."""
        small: Unit = "excel" if are_spreadsheet_days(self.numbers) else "s"
        return self.unit or (small if self.form == "number" else "text")

    @property
    def full(self) -> bool:
        """Whether so few rows lack a value that all can be required to have one."""
        return self.nulls <= _BAD * self.rows


def profile(name: str, values: pa.Array, declared: DeclaredType | None = None) -> Profile:
    """Looks at a column; one of a type that nothing reads is of the form `other`, with the reason.

    Args:
        name: Its name.
        values: A plain array; text is `large_string`.
        declared: The type that the header declares.
    """
    try:
        found = _profile(name, values, declared)
    except (pa.ArrowException, NotImplementedError, OverflowError):
        found = _unreadable(name, values)
    return replace(found, declared=declared)


def _profile(name: str, values: pa.Array, declared: DeclaredType | None) -> Profile:
    kind = values.type
    null = _null(values)
    nulls = int(pc.sum(null).as_py() or 0)
    if nulls == len(values):
        return Profile(name, values, "empty", len(values), nulls, 0, _none())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _of_lists(name, values, nulls)
    if not _is_plain(kind):
        return _unreadable(name, values)
    counts = pc.value_counts(values.filter(pc.invert(null))).field("counts").to_numpy()
    what: dict[str, Any] = {"rows": len(values), "nulls": nulls, "distinct": len(counts)}
    what["once"] = int((counts == 1).sum())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Profile(name, values, "time", **what, numbers=_none(), unit="text")
    numbers = None if declared in ("token_seq", "float_seq") else _numbers(values, nulls)
    if numbers is not None:
        width = float(np.mean([len(str(value)) for value in values.slice(0, _PROBE).to_pylist()]))
        return Profile(name, values, "number", **what, numbers=numbers, unit=_unit(values, numbers), width=width)
    return _of_text(name, values.cast(pa.large_string()), what, declared)


def _unreadable(name: str, values: pa.Array) -> Profile:
    nulls = values.null_count
    return Profile(name, values, "other", len(values), nulls, 0, _none(), trouble=f"values of type {values.type}")


def _is_plain(kind: pa.DataType) -> bool:
    """Whether ingest reads values of this type as anything."""
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    moments = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    return bool(numbers or moments or pa.types.is_boolean(kind) or pa.types.is_large_string(kind))


def readable(column: Profile, role: Role) -> NDArray[np.bool_] | None:
    """Which rows ingest would keep if the column played this part, shape (N,); `None` if it cannot play it."""
    try:
        parsed = parse(column.values, role)
    except (ColumnTypeError, pa.ArrowException, NotImplementedError):
        return None
    bad = np.zeros(len(column.values), dtype=np.bool_)
    for mask in parsed.bad.values():
        bad |= mask
    return ~bad


def separator_of(values: pa.Array) -> tuple[str, int] | None:
    """What sets apart several values in the cells of a text column, and how many different ones there are.

    A separator counts when it stands in a tenth of the cells, and cuts them into fewer, shorter values that come back.

    Example:
        >>> separator_of(pa.array(["a|b", "b", "a|c", "c|b|a"], pa.large_string()))
        ('|', 3)
    """
    texts = [text for text in pc.drop_null(values).slice(0, 10 * _PROBE).to_pylist() if text.strip()]
    bracketed = sum(text.strip().startswith("[") and text.strip().endswith("]") for text in texts)
    if texts and bracketed >= 0.99 * len(texts):
        return LIST_FORM, len({member for text in texts for member in parse_list(text)})
    cells = len(set(texts))
    for separator in _SEPARATORS:
        cut = [text for text in texts if separator in text]
        if len(cut) < max(0.1 * len(texts), 1):
            continue
        parts = [part.strip() for text in texts for part in text.split(separator) if part.strip()]
        members = len(set(parts))
        short = sum(map(len, parts)) <= 25 * len(parts)
        if parts and short and members < len(parts) and (members < cells or 2 * members <= len(parts)):
            return separator, members
    members = _blank_separated(texts, cells)
    return (" ", members) if members else None


def _blank_separated(texts: list[str], cells: int) -> int:
    """How many different words there are, if the cells are lists of these: 0 where they may be names or prose.

    Words of a list combine freely, in numbers that vary, and come back often. Those of names do not.
    """
    parts = [text.split() for text in texts]
    words = [word for row in parts for word in row]
    members, sizes = len(set(words)), {len(row) for row in parts}
    free = 2 * members <= cells and 10 * members <= len(words)
    return members if len(sizes) >= 3 and free and max(sizes) <= 30 else 0


def _none() -> Floats:
    return np.zeros(0)


def _null(values: pa.Array) -> pa.Array:
    """Where nothing is written; in text, blanks and the usual words for nothing count too."""
    null = pc.is_null(values)
    if not pa.types.is_large_string(values.type):
        return null
    return pc.or_(null, pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(values)), _NOTHING))


def _numbers(values: pa.Array, nulls: int) -> Floats | None:
    """The finite numbers, if nearly all values are numbers."""
    try:
        parsed = parse(values, Role("x", "x", "numeric"))
    except (ColumnTypeError, pa.ArrowException, NotImplementedError):
        return None
    bad = sum(int(mask.sum()) for mask in parsed.bad.values())
    if bad > _BAD * (len(values) - nulls):
        return None
    found: Floats = parsed.values.drop_null().to_numpy(zero_copy_only=False)
    # Differences and means of numbers at the edge of what a float holds would overflow.
    return np.clip(found, -1e100, 1e100) if len(found) else None


def _unit(values: pa.Array, numbers: Floats) -> Unit | None:
    """The unit in which these would be moments of our time."""
    if pa.types.is_large_string(values.type) and _are_days(numbers):
        return "text"
    written = guess_unit(numbers)
    if written is not None and written.startswith("yyyy"):
        return written
    low, high = np.quantile(numbers, (0.01, 0.99))
    return next((unit for unit, (first, last) in _CLOCKS.items() if first <= low and high <= last), None)


def _are_days(numbers: Floats) -> bool:
    """Whether these are days written as 20241231."""
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    fits = (numbers % 1 == 0) & (year >= 1900) & (year < 2200) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return bool(fits.all())


def _of_lists(name: str, values: pa.Array, nulls: int) -> Profile:
    inner = plain_array(pc.list_flatten(values))
    if pa.types.is_nested(inner.type) or readable(Profile(name, values, "list", 0, 0, 0, _none()), _LISTS) is None:
        return _unreadable(name, values)
    cells = values.slice(0, 10 * _PROBE).to_pylist()
    distinct = len({None if cell is None else tuple(cell) for cell in cells} - {None})
    members = int(pc.count_distinct(inner, mode="only_valid").as_py())
    return Profile(name, values, "list", len(values), nulls, distinct, _none(), members=members)


def _of_text(name: str, text: pa.Array, what: dict[str, Any], declared: DeclaredType | None) -> Profile:
    width = float(pc.mean(pc.utf8_length(text)).as_py() or 0.0)
    what = {**what, "numbers": _none()}
    time = _time(text) if declared is None else None
    if time is not None:
        return Profile(name, text, "time", **what, unit="text", width=width, trouble=time or None)
    found = separator_of(text) if declared is None else None
    if declared in ("token_seq", "float_seq"):
        words = {word for cell in text.drop_null().slice(0, 10 * _PROBE).to_pylist() for word in cell.split()}
        found = " ", len(words)
    if found is not None:
        return Profile(name, text, "list", **what, separator=found[0], members=found[1], width=width)
    return Profile(name, text, "text", **what, width=width)


def _time(text: pa.Array) -> str | None:
    """`None`: no dates; empty: dates; else what stands against reading them."""
    some = text.filter(pc.invert(_null(text))).slice(0, _PROBE)
    dated = pc.match_substring_regex(some, r"\d[-/. T]\S+[-/. ]\d|\d{4}-\d\d|\d{1,2} \w{3,} \d{4}")
    if (pc.mean(dated.cast(pa.float64())).as_py() or 0.0) < 0.9:
        return None
    role = Role("timestamp", "timestamp", "timestamp", unit="text")
    try:
        parsed = parse(some, role)
    except ColumnTypeError:
        try:
            parsed = parse(text, role)
        except ColumnTypeError as error:
            return str(error)
    except (pa.ArrowException, ValueError, OverflowError):
        return None
    bad = sum(int(mask.sum()) for mask in parsed.bad.values())
    return "" if bad <= _BAD * len(parsed.values) else None
