"""Logs of sessions: the session in place of a user who is mostly unknown, and times in two columns."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.offsets import CLOCK, OffsetUnit
from recsys.init.names import hint, words
from recsys.init.profile import Profile

__all__ = ["session_user", "time_offset"]

_DAY = 86_400_000_000
_MILLISECONDS = {"ms", "msec", "millis", "milliseconds", "timeframe"}
_PARTS = ("user", "item", "request", "click", "rating", "amount", "position", "propensity")


def session_user(columns: Sequence[Profile], known: Mapping[str, float]) -> tuple[Profile, str] | None:
    """The session that stands for the user, where the log names no user or mostly has none.

    Args:
        columns: Without the time.
        known: By column, the share of its values that the users table knows.
    """
    named = [column for column in columns if hint(column.name, "user") >= 2]
    if any(2 * column.nulls <= column.rows for column in named) or any(known.values()):
        return None
    for column in columns:
        ids = column.form == "text" or column.whole
        back = column.distinct * 1.2 <= column.rows - column.nulls
        if hint(column.name, "session") >= 2 and ids and back and column.full and not column.constant:
            size = column.rows / max(column.distinct, 1)
            missing = [f"{other.name} is missing in {other.nulls / other.rows:.0%} of the rows" for other in named]
            because = " and ".join(missing) or "no column names a user"
            return column, f"{because}, so a session of some {size:.3g} events stands for one"
    return None


def time_offset(columns: Sequence[Profile], moments: NDArray[np.int64]) -> tuple[Profile, OffsetUnit, str] | None:
    """The time within the day or the session, where the timestamps are whole days.

    Args:
        columns: Without a part yet.
        moments: Microseconds of the timestamps, shape (N,).
    """
    if not len(moments) or (moments % _DAY == 0).mean() < 0.99:
        return None
    for column in columns:
        unit = _unit(column)
        if unit is not None:
            what = (
                "times of day" if unit == "clock" else f"{'milliseconds' if unit == 'ms' else 'seconds'} within a day"
            )
            return column, unit, f"the timestamps are whole days, these {what}: both together make the time"
    return None


def _unit(column: Profile) -> OffsetUnit | None:
    """The unit of a column that may hold a time within a day; `None` where it holds something else."""
    if hint(column.name, "offset") < 1 or not column.full or column.distinct < 2:
        return None
    if any(hint(column.name, part) >= 1 for part in _PARTS):
        return None
    if column.form == "text":
        fits = pc.mean(pc.match_substring_regex(column.values.drop_null(), CLOCK).cast("float64")).as_py() or 0.0
        return "clock" if fits >= 0.99 else None
    # The whole name must say so: a delivery time is no time of day. Nor is 1435 (hours, minutes) a number of seconds.
    if column.form != "number" or hint(column.name, "offset") < 2.5 or column.numbers.min() < 0 or _digits(column):
        return None
    most = float(column.numbers.max())
    if most > 86_400_000 or most < 60:
        return None
    return "ms" if most > 86_400 or _MILLISECONDS.intersection(words(column.name)) else "s"


def _digits(column: Profile) -> bool:
    """Whether the numbers look like hours, minutes and seconds side by side: 1435 or 143500."""
    numbers = column.numbers
    fits = (numbers % 1 == 0) & (numbers % 100 < 60) & (numbers // 100 % 100 < 60) & (numbers < 240_000)
    return bool(fits.all()) and float(numbers.max()) >= 100
