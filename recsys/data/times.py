"""Times in any form to microseconds since 1970, UTC: Arrow dates, text, and numbers in a unit that is told or guessed.

A guessed unit is the one in which most numbers of the column lie in 1971 to 2100. The ranges of the units do not
overlap, so that a single number says its unit, too; a row that says another one is refused rather than misplaced.
Dates written as one number (20241231) are read as dates: as a count of anything they would lie outside those years.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.cells import EXACT, NUMBER, ColumnTypeError, Floats, Mask, Parsed, Role, as_floats, as_mask, trimmed
from recsys.data.config import TimestampUnit
from recsys.data.tables import TIMESTAMP_TYPE

__all__ = ["are_spreadsheet_days", "guess_unit", "read_times"]

Ints = NDArray[np.int64]

_EXPECTED = "expected a date and time"
_INTEGER = r"^-?(\d{1,18}|[1-8]\d{18})$"  # what surely fits 64 bits
_TICKS: dict[str, float] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_NAMES: dict[str, str] = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "yyyymmdd": "dates written as YYYYMMDD",
    "yyyymmddhhmm": "times written as YYYYMMDDhhmm",
    "yyyymmddhhmmss": "times written as YYYYMMDDhhmmss",
    "excel": "days of a spreadsheet, counted from 1899-12-30",
}
_FIRST, _LAST = 31_536_000, 4_133_980_800
"""Seconds of 1971 and 2101: where a guessed unit must put a time."""
_EARLIEST, _END = -62_135_596_800_000_000, 253_402_300_800_000_000  # µs of the years 1 and 10000
_DIGITS: dict[TimestampUnit, int] = {"yyyymmddhhmmss": 14, "yyyymmddhhmm": 12, "yyyymmdd": 8}
_EXCEL_EPOCH = 25_569  # 1970-01-01 as a spreadsheet counts days
_EARLY, _DIFFERENT = 0.01, 20
"""Share of seconds before 1971, and how many different ones, from which on they do not count from 1970."""
_EXCEL_DAYS = (32_874, 58_440)  # of 1990 and 2060
_ISO = "ISO8601"
# Tried on what is not ISO 8601, in this order; one form for the whole column.
_FORMS = tuple(
    f"{day}{time}"
    for day in ("%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d %b %Y", "%a, %d %b %Y", "%b %d, %Y")
    for time in ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H:%M:%S%z")
)


@dataclass(frozen=True, slots=True)
class _Cells:
    """A column as numbers: those, the exact integers among them, what is missing and what is no number, shape (N,)."""

    values: Floats
    exact: Mask
    integers: Ints
    null: Mask
    bad: Mask


def read_times(column: pa.Array, role: Role) -> Parsed:
    """Times of a plain column.

    Raises:
        ColumnTypeError: The type holds no times; no unit puts the numbers into our time; day and month are in doubt.
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _of_dates(column, role)
    text = pa.types.is_large_string(column.type)
    cells = _cells(column, role)
    known = ~cells.null & ~cells.bad
    if role.unit == "auto":
        role = _settled(cells, known, role) if known.sum() > cells.bad.sum() else replace(role, unit="text")
    micros, odd = _of_numbers(cells, known, role) if role.unit != "text" else _by_size(cells, known)
    bad = {_EXPECTED: cells.bad}
    if text:
        written = ~cells.null & (cells.bad | (known if role.unit == "text" else False))
        moments, unread, form = _of_text(column, written, role)
        micros = np.where(written & ~unread, moments, micros)
        odd &= unread | ~written
        bad, role = {_EXPECTED: unread & ~known}, replace(role, form=form)
    if odd.any():
        reason = f"expected {_NAMES[role.unit]}, the unit of this column" if role.unit in _NAMES else _EXPECTED
        bad[reason] = odd | bad.get(reason, False)
    return _parsed(micros, cells.null, bad, role)


def _parsed(micros: Ints, null: Mask, bad: dict[str, Mask], role: Role) -> Parsed:
    missing = null.copy()
    for mask in bad.values():
        missing |= mask
    return Parsed(pa.array(micros, pa.int64(), mask=missing).cast(TIMESTAMP_TYPE), role, bad)


def guess_unit(values: Floats) -> TimestampUnit | None:
    """The unit in which most of these numbers would be times of 1971 to 2100; `None` where there is none.

    Example:
        >>> guess_unit(np.array([1709210096.0])), guess_unit(np.array([20240229.0])), guess_unit(np.array([7.0]))
        ('s', 'yyyymmdd', None)
    """
    if not len(values):
        return None
    middle = float(np.median(np.abs(values)))
    for unit, digits in _DIGITS.items():
        of_length = 1900 <= middle / 10 ** (digits - 4) < 2101
        if of_length and 2 * int(_dates(_whole(values), unit)[1].sum()) > len(values):
            return unit
    return next((unit for unit in _TICKS if _is_plausible(np.array([middle]), unit)[0]), None)  # type: ignore[misc]


def are_spreadsheet_days(values: Floats) -> bool:
    """Whether these numbers look like days of 1990 to 2060 as a spreadsheet counts them; alone, that is no proof."""
    return len(values) > 0 and bool(((values >= _EXCEL_DAYS[0]) & (values < _EXCEL_DAYS[1])).all())


def _settled(cells: _Cells, known: Mask, role: Role) -> Role:
    """The role with the unit of the numbers.

    Raises:
        ColumnTypeError: They are no times in any unit that is guessed.
    """
    values = cells.values[known & (np.abs(cells.values) < 1e19) & (cells.values != 0)]
    unit = guess_unit(values)
    if unit == "s" and _is_own_clock(values):
        return replace(role, unit=unit)
    if unit is not None:
        return replace(role, unit=unit, guessed=True)
    middle = float(np.median(np.abs(values))) if len(values) else 0.0
    likeness = _likeness(values, middle)
    if likeness is not None:
        raise ColumnTypeError(*likeness)
    # A clock of its own, such as the number of the step: only the order counts.
    return replace(role, unit="s")


def _is_own_clock(values: Floats) -> bool:
    """Whether seconds do not count from 1970: too many, and too different ones, for mistakes lie before 1971."""
    early = values[np.abs(values) < _FIRST]
    return len(early) > _EARLY * len(values) and len(np.unique(early)) >= _DIFFERENT


def _likeness(values: Floats, middle: float) -> tuple[str, str] | None:
    """What numbers that are no times in any unit look like, and what to do."""
    if middle >= _FIRST:
        moments = ", ".join(f"{_year(middle * ticks / 1e6)} as {_NAMES[unit][:-11]}" for unit, ticks in _TICKS.items())
        expected = "times of 1971 to 2100; set the unit (timestamp_unit: s, ms, us or ns), or write the date as text"
        return f"{middle:.0f}, which would be {moments}", expected
    if len(values) and bool(((values >= 1950) & (values <= 2100) & (values % 1 == 0)).all()):
        return f"{middle:.0f}, which looks like a year", "a date; leave the column out, or declare it numeric"
    if are_spreadsheet_days(values):
        day = datetime(1899, 12, 30, tzinfo=UTC) + timedelta(days=int(middle))
        return (
            f"{middle:g}, which looks like the date {day:%Y-%m-%d} as a spreadsheet counts days",
            "the unit to be told: timestamp_unit: excel, or s if these are seconds on a clock of their own",
        )
    return None


def _year(seconds: float) -> str:
    year = 1970 + seconds / 31_556_952
    return f"the year {year:.0f}" if year < 1e4 else "no year"


def _whole(values: Floats) -> Ints:
    return np.where(np.abs(values) < EXACT, values, 0.0).astype(np.int64)


def _is_plausible(values: Floats, unit: str) -> Mask:
    seconds = values * (_TICKS[unit] / 1e6)
    return (seconds >= _FIRST) & (seconds < _LAST)


def _cells(column: pa.Array, role: Role) -> _Cells:
    values, null, bad = as_floats(column, role)
    bad |= ~null & ~np.isfinite(values)
    integers = np.zeros(len(values), dtype=np.int64)
    if pa.types.is_integer(column.type):
        # Of what is above 64 bits the float says that it is no time.
        integers = column.cast(pa.int64(), safe=False).fill_null(0).to_numpy(zero_copy_only=False)
        exact = ~null & (np.abs(values) < 9e18)
    elif pa.types.is_large_string(column.type) and not (null | bad).all():
        text = pc.utf8_trim_whitespace(column)
        whole = pc.if_else(pc.match_substring_regex(text, _INTEGER), text, None).cast(pa.int64())
        integers, exact = whole.fill_null(0).to_numpy(zero_copy_only=False), as_mask(pc.is_valid(whole))
    else:
        exact = np.zeros(len(values), dtype=np.bool_)
    return _Cells(np.where(null | bad, 0.0, values), exact & ~bad, integers, null, bad)


def _of_dates(column: pa.Array, role: Role) -> Parsed:
    kind = column.type
    unit: TimestampUnit = kind.unit if pa.types.is_timestamp(kind) else "ms"
    whole = column if pa.types.is_timestamp(kind) else column.cast(pa.date64())
    null = as_mask(pc.is_null(whole))
    integers = whole.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    cells = _Cells(integers.astype(np.float64), ~null, integers, null, np.zeros(len(null), dtype=np.bool_))
    micros, odd = _since_1970(cells, ~null, replace(role, unit=unit, guessed=False))
    # A request has no such type: it sends text, or a number that says its unit by its size.
    return _parsed(micros, null, {_EXPECTED: odd}, replace(role, unit="text") if role.unit == "auto" else role)


def _of_numbers(cells: _Cells, known: Mask, role: Role) -> tuple[Ints, Mask]:
    """Microseconds, and which known cells are no times in the role's unit."""
    if role.unit in _DIGITS:
        micros, fits = _dates(np.where(cells.exact, cells.integers, _whole(cells.values)), role.unit)
        return micros, known & ~(fits & (cells.exact | (cells.values % 1 == 0)))
    if role.unit == "excel":
        days = np.where(known & (np.abs(cells.values) < 3e6), cells.values, -1.0)
        # To the millisecond: finer digits of a fraction of a day are noise.
        micros = np.rint((days - _EXCEL_EPOCH) * 86_400_000).astype(np.int64) * 1000
        return micros, known & ~((days >= 0) & (micros < _END))
    return _since_1970(cells, known, role)


def _since_1970(cells: _Cells, known: Mask, role: Role) -> tuple[Ints, Mask]:
    about = cells.values * _TICKS[role.unit]
    odd = known & ~((about >= _EARLIEST) & (about < _END))
    if role.guessed:
        far = np.flatnonzero(known & ~_is_plausible(cells.values, role.unit))
        odd[far] |= role.required or _is_other(cells.values[far], role.unit)
    # Exact where the cells are integers: a float64 holds no nanosecond of this century.
    integers = np.where(cells.exact & ~odd, cells.integers, 0)
    whole = integers // 1000 if role.unit == "ns" else integers * int(_TICKS[role.unit])
    return np.where(cells.exact, whole, np.rint(np.where(known & ~odd, about, 0.0)).astype(np.int64)), odd


def _is_other(values: Floats, unit: str) -> Mask:
    """Whether the size of numbers, or their digits, say another unit."""
    other = _dates(_whole(values), "yyyymmdd")[1]
    for one in _TICKS:
        other |= (one != unit) & _is_plausible(np.abs(values), one)
    return np.asarray(other, dtype=np.bool_)


def _by_size(cells: _Cells, known: Mask) -> tuple[Ints, Mask]:
    """Numbers among dates that are text: each says by its size what it counts."""
    micros, odd = np.zeros(len(known), dtype=np.int64), known.copy()
    if not known.any():
        return micros, odd
    units: tuple[TimestampUnit, ...] = (*_DIGITS, "s", "ms", "us", "ns")
    for unit in units:
        found, no = _of_numbers(cells, known, Role("", "", "timestamp", unit=unit))
        fits = odd & ~no & (True if unit in _DIGITS else _is_plausible(cells.values, unit))
        micros = np.where(fits, found, micros)
        odd &= ~fits
    return micros, odd


def _dates(whole: Ints, unit: TimestampUnit) -> tuple[Ints, Mask]:
    """Microseconds of dates written as one number, and which are dates of 1900 to 2100."""
    clock = _DIGITS[unit] - 8
    day, rest = whole // 10**clock, whole % 10**clock * 10 ** (6 - clock)
    hour, minute, second = rest // 10_000, rest // 100 % 100, rest % 100
    year, month, date = day // 10_000, day // 100 % 100, day % 100
    fits = (year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12) & (date >= 1)
    fits &= (hour < 24) & (minute < 60) & (second < 60)
    start = np.where(fits, year * 12 + month - 1 - 1970 * 12, 0).astype("datetime64[M]")
    days = start.astype("datetime64[D]").astype(np.int64) + np.where(fits, date - 1, 0)
    fits &= days < (start + 1).astype("datetime64[D]").astype(np.int64)
    seconds = days * 86_400 + np.where(fits, hour * 3600 + minute * 60 + second, 0)
    return np.where(fits, seconds * 1_000_000, 0), fits


def _of_text(column: pa.Array, written: Mask, role: Role) -> tuple[Ints, Mask, str | None]:
    """ISO 8601 first, then one other form for all that is left: microseconds, what cannot be read, the other form."""
    micros, unread = np.zeros(len(column), dtype=np.int64), written.copy()
    if not written.any():
        return micros, unread, role.form
    text = trimmed(column.filter(pa.array(written)), role.null_values)
    text = pc.replace_substring_regex(text, r"\s*(UTC|GMT)$", "Z")
    series = pd.Series(text.to_numpy(zero_copy_only=False), dtype=object)
    moments = _moments(series, _ISO)
    left = moments.isna().to_numpy()
    if left.any():
        left = left & ~as_mask(pc.match_substring_regex(text, NUMBER))
    form = role.form
    if left.any():
        moments = moments.copy()
        moments[left], form = _other_form(series[left], role)
    unread[written] = moments.isna().to_numpy()
    micros[written] = moments.fillna(pd.Timestamp(0, tz="UTC")).astype("int64").to_numpy()
    return micros, unread, form


def _moments(series: "pd.Series[Any]", form: str) -> "pd.Series[Any]":
    return pd.to_datetime(series, format=form, utc=True, errors="coerce").dt.as_unit("us")


def _other_form(series: "pd.Series[Any]", role: Role) -> tuple["pd.Series[Any]", str | None]:
    """Reads by the form of the column; a single value of a column without one by the form that fits it."""
    if role.form is not None:
        return _moments(series, role.form), role.form
    if not role.settled:
        return _best_form(series)
    found = [_best_form(series.iloc[row : row + 1])[0] for row in range(len(series))]
    return pd.concat(found), None


def _best_form(series: "pd.Series[Any]") -> tuple["pd.Series[Any]", str | None]:
    """Reads by the form that fits most cells.

    Raises:
        ColumnTypeError: Day first and month first fit equally well and disagree.
    """
    nothing: pd.Series[Any] = pd.Series(pd.NaT, index=series.index, dtype="datetime64[us, UTC]")
    best, chosen, fits, rival = nothing, None, 0, None
    for form in _FORMS:
        moments = _moments(series, form)
        count = int(moments.notna().sum())
        if count > fits:
            best, chosen, fits, rival = moments, form, count, None
        elif count == fits > 0 and not moments.equals(best):
            rival = moments
    if rival is not None:
        example = series[(best != rival) & best.notna()].iloc[0]
        raise ColumnTypeError(
            f"{example!r}, which is one day or another", "dates with the year first, such as 2024-12-31"
        )
    return best, chosen
