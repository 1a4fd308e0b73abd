"""Which column plays which part, and why: pure functions of what the columns are like.

Every column gets exactly one guess, so no column plays two parts. Outcomes are never taken for context: what is not
known when the request is made would teach a model to look into the future.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.attributes import codes_of
from recsys.data.columns import Role, parse
from recsys.data.config import ColumnKind
from recsys.data.list_text import LIST_FORM
from recsys.data.offsets import OffsetUnit, add_offset
from recsys.init.names import hint, looks_like_code
from recsys.init.profile import Profile, readable
from recsys.init.sessions import session_user, time_offset

__all__ = [
    "Guess",
    "Part",
    "feature_kind",
    "find",
    "find_time",
    "guess_attributes",
    "guess_label",
    "guess_log",
    "guess_table",
    "moments_of",
    "overlap",
    "time_of",
    "useless",
]

Part = Literal[
    "user_id",
    "item_id",
    "timestamp",
    "timestamp_offset",
    "request_id",
    "exposed",
    "position",
    "propensity",
    "label",
    "context",
    "feature",
    "title",
    "left out",
]
Scores = Mapping[str, float]

_MANY = 20
"""Rows in which something that comes back would have done so."""
_TAKEN = ("user_id", "item_id", "timestamp", "row", "request_id", "exposed", "position", "propensity")
_FEW = 1000
"""Different values up to which unnamed text of a log is taken for a category."""
_TOGETHER = 600_000_000
"""Microseconds within which the rows of one request lie."""
_TIME_UNITS: tuple[Literal["text", "s"], ...] = ("text", "s")
_LONG = 60
"""Characters above which text is prose rather than a name."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What a column is taken for.

    Attributes:
        profile: The column.
        part: The part it plays.
        why: The reason, in words.
        sure: Whether name and values both say so; the others are marked as guessed.
        kind: How a context or feature column is read.
        unit: Of a time within the day or the session.
    """

    profile: Profile
    part: Part
    why: str
    sure: bool = True
    kind: ColumnKind | None = None
    unit: OffsetUnit | None = None

    @property
    def column(self) -> str:
        """Its name."""
        return self.profile.name


def find(guesses: Iterable[Guess], part: Part) -> Guess | None:
    """The first column that plays this part."""
    return next((guess for guess in guesses if guess.part == part), None)


def guess_log(
    columns: Sequence[Profile], *, given: Mapping[str, str] | None = None, known: Mapping[str, Scores] | None = None
) -> list[Guess]:
    """The parts of the columns of an event log.

    Args:
        columns: What the columns are like.
        given: Column by part (`user_id`, `item_id`, `timestamp`), as the user said.
        known: By part `user_id` and `item_id`: the share of a column's values that the users or items table knows.

    Returns:
        One guess a column, in their order; `user_id` and `item_id` may be missing among the parts.
    """
    given = given or {}
    guesses: dict[str, Guess] = {}
    by_name = {column.name: column for column in columns}
    for part in ("user_id", "item_id", "timestamp"):
        if part in given:
            guesses[given[part]] = Guess(by_name[given[part]], _PARTS[part], "as told")  # each given once
    if "timestamp" not in given:
        _take(guesses, find_time([column for column in columns if column.name not in guesses]))
    known = known or {}
    told = dict(given)
    if "user_id" not in given:
        session = session_user([column for column in columns if column.name not in guesses], known.get("user_id", {}))
        if session is not None:
            told["user_id"] = session[0].name
            _take(guesses, Guess(session[0], "user_id", session[1], sure=False))
    _take(guesses, *_ids([column for column in columns if column.name not in guesses], told, known))
    log = _Log(guesses, columns)
    time = log.part("timestamp")
    if time is not None:
        found = time_offset(log.left(), time_of(time))
        _take(guesses, found and Guess(found[0], "timestamp_offset", found[2], sure=False, unit=found[1]))
    for step in (_request, _exposed, _position, _propensity):
        _take(guesses, step(log))
    # What is named like an outcome first: whether a column without a name is one depends on it.
    for column in sorted(log.left(), key=_label_hint, reverse=True):
        _take(guesses, _unless_taken(_other(log, column)))
    return [guesses[column.name] for column in columns]


def guess_attributes(columns: Sequence[Profile], part: Literal["user_id", "item_id"]) -> list[Guess]:
    """The parts of columns of a log that say something of its users or items, given one row of each.

    Returns:
        One guess a column, in their order, of what follows from the values alone.
    """
    title = _title(columns) if part == "item_id" else None
    return [title if title and title.column == column.name else _feature(column) for column in columns]


def guess_table(columns: Sequence[Profile], part: Literal["user_id", "item_id"], ids: Scores) -> list[Guess]:
    """The parts of the columns of a users or items table.

    Args:
        columns: What the columns are like.
        part: Whose table it is.
        ids: By column: the share of the log's ids that the column knows.

    Returns:
        One guess a column, in their order; the id may be missing among the parts.
    """
    guesses: dict[str, Guess] = {}
    _take(guesses, _table_id(columns, part, ids))
    for column in columns:
        if column.name not in guesses and column.name in ("user_id", "item_id"):
            _take(guesses, Guess(column, "left out", "named like an id, but another column is the id here"))
    rest = [column for column in columns if column.name not in guesses]
    if part == "item_id":
        _take(guesses, _title(rest))
    for column in rest:
        if column.name not in guesses:
            _take(guesses, _feature(column))
    return [guesses[column.name] for column in columns]


def overlap(values: pa.Array, known: pa.Array) -> float:
    """The share of the different ids of one column that another knows, 0 where either holds no ids."""
    try:
        here, there = (
            pc.unique(parse(column, Role("id", "id", "id")).values).drop_null() for column in (values, known)
        )
    except Exception:  # noqa: BLE001, RUF100  whatever is wrong with a column, it holds no ids
        return 0.0
    return float(pc.mean(pc.is_in(here, value_set=there).cast(pa.float64())).as_py() or 0.0) if len(here) else 0.0


def moments_of(guesses: Sequence[Guess]) -> NDArray[np.int64] | None:
    """Microseconds of the events, with the time within the day or the session, shape (N,); `None` without time."""
    time, offset = find(guesses, "timestamp"), find(guesses, "timestamp_offset")
    if time is None:
        return None
    moments = time_of(time)
    if offset is None or offset.unit is None:
        return moments
    role = Role("offset", offset.column, "text" if offset.unit == "clock" else "numeric")
    values = parse(offset.profile.values, role).values
    summed, _ = add_offset(pa.array(moments).cast(pa.timestamp("us", tz="UTC")), values, offset.unit)
    found: NDArray[np.int64] = summed.cast("int64").fill_null(0).to_numpy()
    return found


def time_of(guess: Guess) -> NDArray[np.int64]:
    """Microseconds of a timestamp column, 0 where it cannot be read, shape (N,)."""
    role = Role("timestamp", guess.column, "timestamp", unit=guess.profile.clock)
    found: NDArray[np.int64] = parse(guess.profile.values, role).values.cast("int64").fill_null(0).to_numpy()
    return found


_PARTS: dict[str, Part] = {"user_id": "user_id", "item_id": "item_id", "timestamp": "timestamp"}


def _take(guesses: dict[str, Guess], *found: Guess | None) -> None:
    guesses.update({guess.column: guess for guess in found if guess is not None})


@dataclass(frozen=True, slots=True)
class _Log:
    """The columns of a log, and what is known of them so far."""

    guesses: dict[str, Guess]
    columns: Sequence[Profile]

    def left(self) -> list[Profile]:
        """Columns without a part yet."""
        return [column for column in self.columns if column.name not in self.guesses]

    def part(self, part: Part) -> Guess | None:
        """The column that plays a part."""
        return find(self.guesses.values(), part)

    def has(self, *parts: Part) -> bool:
        """Whether any of these parts is taken."""
        return any(self.part(part) is not None for part in parts)


# Time


def find_time(columns: Sequence[Profile]) -> Guess | None:
    """Dates, or numbers that would be moments of our time, or small numbers in a column called time."""

    def score(column: Profile) -> float:
        named = hint(column.name, "time")
        if column.trouble or column.constant or not column.full or (not named and _other_name(column)):
            return 0.0
        if column.form == "time" or (column.form == "number" and column.unit and (named or column.whole)):
            return 3.0 + named + (column.form == "time")
        ticks = (column.whole or column.clock == "excel") and named >= 2.5 and column.numbers.min() >= 0
        return named if ticks and column.distinct > 1 else 0.0

    best = max(columns, key=score, default=None)
    if best is None or score(best) == 0:
        return None
    units = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "text": "dates"}
    small = "days as a spreadsheet counts them" if best.clock == "excel" else "a clock that starts at 0"
    what = units.get(best.unit, "dates written as one number") if best.unit else small
    named = hint(best.name, "time") > 0
    return Guess(best, "timestamp", f"{what}{', named like one' if named else ''}", sure=named and bool(best.unit))


def _other_name(column: Profile) -> bool:
    """Whether the name says that it is something else than an id or a time."""
    parts = ("user", "item", "request", "click", "rating", "amount", "context", "position", "propensity")
    return any(hint(column.name, part) >= 2 for part in parts)


# User and item


def _ids(columns: Sequence[Profile], given: Mapping[str, str], known: Mapping[str, Scores]) -> list[Guess]:
    """The pair of different columns that are most like user and item."""
    scores = {
        part: {column.name: _id_score(column, part, known.get(part, {}).get(column.name, 0.0)) for column in columns}
        for part in ("user_id", "item_id")
        if part not in given
    }
    by_name = {column.name: column for column in columns}
    best: dict[str, str] = {}
    if len(scores) == 2:
        pairs = [
            (scores["user_id"][user.name] + scores["item_id"][item.name], -at, -to, user.name, item.name)
            for at, user in enumerate(columns)
            for to, item in enumerate(columns)
            if at != to and scores["user_id"][user.name] > 0 and scores["item_id"][item.name] > 0
        ]
        if pairs:
            best = dict(zip(("user_id", "item_id"), max(pairs)[3:], strict=True))
    if not best:
        best = {part: max(values, key=values.__getitem__) for part, values in scores.items() if values}
        best = {part: name for part, name in best.items() if scores[part][name] > 0}
    if best.get("user_id") == best.get("item_id") and best:
        best.pop(min(best, key=lambda part: scores[part][best[part]]))
    if len(best) == 2 and by_name[best["user_id"]].unique and not hint(best["item_id"], "item"):
        # Each user once: a table of users, and what stands beside them are their features.
        best.pop("item_id")
    elif len(best) == 2 and _catalogue(by_name[best["item_id"]]) and not hint(best["user_id"], "user"):
        best.pop("user_id")
    return [_id_guess(by_name[name], part, known.get(part, {}).get(name, 0.0)) for part, name in best.items()]


def _catalogue(item: Profile) -> bool:
    """Whether a table that has each item once is one of items; a few events may be of different items by chance."""
    return item.unique and item.rows >= _MANY


def _id_score(column: Profile, part: str, share: float) -> float:
    """How much a column is like the ids of a part; 0 or less: it cannot be, or nothing speaks for it."""
    role = Role(part, column.name, "id", required=True)
    if column.form not in ("text", "list", "number") or readable(column, role) is None:
        return 0.0
    if (column.form == "number" and not column.whole) or 2 * column.nulls > column.rows:
        return 0.0
    mine, other = ("user", "item") if part == "user_id" else ("item", "user")
    named, against = hint(column.name, mine), hint(column.name, other)
    # The table with most of a column's values says whose ids they are; small whole numbers are in every table.
    return 10 * named - 8 * against + 5 * share + _id_values(column, named)


def _id_values(column: Profile, named: float) -> float:
    """How much the values are like ids that come back."""
    score = 1.0 + 0.5 * (column.distinct >= 10)
    score -= 3.0 * column.unique + 3.0 * (column.width > _LONG)
    score -= 3.0 * (column.form == "number" and column.distinct <= 11) + 3.0 * column.constant
    score -= 2.0 * (not column.full) + 1.5 * (hint(column.name, "request") >= 2)
    others = ("click", "rating", "amount", "context", "position", "propensity", "exposed", "outcome")
    if named < 2 and any(hint(column.name, other) >= 2 for other in others):
        score -= 10.0
    return score


def _id_guess(column: Profile, part: str, share: float) -> Guess:
    mine = "user" if part == "user_id" else "item"
    named = hint(column.name, mine)
    reasons = [f"{column.distinct:,} different values, each some {column.rows / max(column.distinct, 1):.3g} times"]
    reasons += ["named like one"] if named else []
    reasons += [f"{share:.0%} of them in the {mine}s table"] if share else []
    return Guess(column, _PARTS[part], ", ".join(reversed(reasons)), sure=named >= 2)


# Requests, exposure, position, propensity


def _request(log: _Log) -> Guess | None:
    """A column that groups rows of one user at nearly one time; by name, or by structure where clicks are logged."""
    user, time = log.part("user_id"), log.part("timestamp")
    named = [column for column in log.left() if hint(column.name, "request") >= 1 and column.form in ("text", "number")]
    clicks = any(column.binary and column.distinct == 2 for column in log.left())
    for column in [*named, *(log.left() if clicks and time else [])]:
        if user is None or column.binary or column.unique or not _is_group(column, user.profile, time):
            continue
        size = column.rows / max(column.distinct, 1)
        why = f"groups of some {size:.3g} rows of one user" + (" at one time" if time else "")
        return Guess(column, "request_id", why, sure=column in named)
    return None


def _is_group(column: Profile, user: Profile, time: Guess | None) -> bool:
    if column.form not in ("text", "number") or (column.form == "number" and not column.whole):
        return False
    if readable(column, Role("request_id", column.name, "id")) is None or column.distinct * 1.2 > column.rows:
        return False
    code, users = codes_of(column.values), codes_of(user.values)
    if not _depends(users, code, share=0.99):
        return False
    if time is None:
        return True
    when = pd.Series(time_of(time)).groupby(code)
    return bool(((when.max() - when.min()) <= _TOGETHER).mean() >= 0.95)


def _depends(what: NDArray[np.int64], on: NDArray[np.int64], *, share: float = 1.0) -> bool:
    """Whether one column is settled by another, in nearly all groups of two rows or more."""
    groups = pd.Series(what).groupby(on)
    several = groups.size() > 1
    return bool(several.any()) and bool((groups.nunique()[several] == 1).mean() >= share)


def _named_role(log: _Log, part: Literal["exposed", "position", "propensity"], why: str) -> Guess | None:
    kinds: dict[str, Literal["flag", "position", "propensity"]] = {
        "exposed": "flag",
        "position": "position",
        "propensity": "propensity",
    }
    for column in log.left():
        if hint(column.name, part) < 2 or column.form == "empty" or column.constant:
            continue
        kept = readable(column, Role(part, column.name, kinds[part]))
        if kept is not None and kept.mean() >= 0.99:
            return Guess(column, part, why)
    return None


def _exposed(log: _Log) -> Guess | None:
    return _named_role(log, "exposed", "named like one, says yes or no: whether the item was shown")


def _position(log: _Log) -> Guess | None:
    return _named_role(log, "position", "named like one, whole numbers: the place in the list")


def _propensity(log: _Log) -> Guess | None:
    return _named_role(log, "propensity", "named like one, between 0 and 1: the chance of being seen")


# Everything else in a log


def _label_hint(column: Profile) -> float:
    """How much the name is one of an outcome."""
    return max(hint(column.name, part) for part in ("click", "rating", "amount"))


def _other(log: _Log, column: Profile) -> Guess:
    label = _label_hint(column)
    nothing = useless(column)
    # Seconds watched may well differ in every row.
    if nothing is not None and (column.form != "number" or column.constant or not label):
        return nothing
    context = hint(column.name, "context")
    if label >= 1 and label >= context and column.form == "number" and not _of_entity(log, column, "item_id"):
        return guess_label(column, sure=True)
    misnamed = _misnamed(log, column, label)
    if misnamed is not None:
        return Guess(column, "left out", misnamed)
    if context >= 2:
        kind, why = feature_kind(column)
        if kind is not None:
            return Guess(column, "context", f"named like something known beforehand; {why}", kind=kind)
    if hint(column.name, "outcome") >= 2 and column.form == "text":
        why = "says what happened, which is not known beforehand; for a label make a column of 0 and 1 of it"
        return Guess(column, "left out", why)
    for part, table in (("item_id", "items"), ("user_id", "users")):
        if _of_entity(log, column, _PARTS[part]):
            return Guess(column, "left out", f"always the same for one {table[:-1]}: a column for a table of {table}")
    return _unnamed(log, column)


def _unless_taken(guess: Guess) -> Guess:
    """Labels and context keep their names, so they cannot have that of a part."""
    if guess.part == "left out" or guess.column not in _TAKEN:
        return guess
    return Guess(guess.profile, "left out", f"a {guess.part} cannot be called {guess.column}; rename the column")


def _misnamed(log: _Log, column: Profile, label: float) -> str | None:
    """Why a column named like a time or an outcome is neither."""
    if hint(column.name, "time") >= 2 and not log.has("timestamp"):
        return _no_time(column)
    if 2 * column.nulls > column.rows and max(hint(column.name, "user"), hint(column.name, "item")) >= 2:
        return f"named like an id, but {column.nulls / column.rows:.0%} of the rows have none"
    if label >= 2 and column.form == "text" and column.distinct <= 20:
        return f"named like an outcome, but a label is a number: write 0 and 1, not {_example(column)}"
    if hint(column.name, "request") >= 2:
        return "named like a request, but its rows are not of one user at one moment: a session, or a search"
    return None


def _no_time(column: Profile) -> str:
    """Why a column named like a time cannot be the time of the events."""
    if column.nulls and not column.full:
        return f"named like a time, but {column.nulls / column.rows:.1%} of the rows have none; every event needs one"
    roles = [Role("timestamp", column.name, "timestamp", required=True, unit=unit) for unit in _TIME_UNITS]
    tried = [kept for role in roles if (kept := readable(column, role)) is not None]
    kept = max(tried, key=lambda mask: float(mask.mean()), default=None)
    what = "write dates with the year first, or seconds since 1970"
    if column.form == "number" or kept is None or kept.all():
        found = f"its values, such as {_example(column)}, are no moments of our time"
        return f"named like a time, but {found}; {what}"
    first = column.values.filter(pa.array(~kept))[0].as_py()
    return f"named like a time, but {1 - kept.mean():.1%} of the rows hold none, such as {_short(str(first))!r}; {what}"


def _of_entity(log: _Log, column: Profile, part: Part) -> bool:
    """Whether a user or an item settles the value; only where enough rows could have said otherwise."""
    entity = log.part(part)
    if entity is None or column.rows - entity.profile.distinct < 20 or column.distinct < 3:
        return False
    return _depends(codes_of(column.values), codes_of(entity.profile.values))


def _unnamed(log: _Log, column: Profile) -> Guess:
    """A column whose name says nothing."""
    if column.form == "number":
        # Beside an outcome that is named like one, numbers without such a name may be anything.
        label, binary = log.part("label"), column.binary and column.distinct == 2
        if (binary and not (label and label.sure)) or (label is None and _is_scale(column)):
            return guess_label(column, sure=False)
        why = "numbers, but known before the event (then it is context) or only after it (then a label)?"
        return Guess(column, "left out", why)
    kind, why = feature_kind(column)
    if kind in ("categorical", "multi_categorical") and column.distinct <= min(_FEW, column.rows / 5):
        return Guess(column, "context", f"{why}; taken for known beforehand", sure=False, kind=kind)
    return Guess(column, "left out", why if kind is None else f"{why}: too many to be of use in a log")


def _is_scale(column: Profile) -> bool:
    """Whether the numbers look like grades: few, evenly spaced, between 0 and 10."""
    values = np.unique(column.numbers)
    return 3 <= len(values) <= 21 and values[0] >= 0 and values[-1] <= 10 and bool((values * 2 % 1 == 0).all())


def guess_label(column: Profile, *, sure: bool) -> Guess:
    """An outcome; left out where too many rows have no number."""
    kept = readable(column, Role(column.name, column.name, "label", required=True))
    if kept is None or kept.mean() < 0.99:
        lost = 1.0 if kept is None else 1 - float(kept.mean())
        return Guess(column, "left out", f"a label must be a number in every row, and {lost:.1%} of them have none")
    low, high = column.numbers.min(), column.numbers.max()
    what = f"0 and 1, {column.numbers.mean():.1%} of them 1" if column.binary else f"numbers from {low:g} to {high:g}"
    return Guess(column, "label", f"{'named like an outcome' if sure else 'taken for an outcome'}; {what}", sure=sure)


def useless(column: Profile) -> Guess | None:
    """A column that says nothing, or nothing that can be read."""
    if column.form == "empty":
        return Guess(column, "left out", "no row has a value")
    if column.trouble:
        return Guess(column, "left out", f"cannot be read: {column.trouble}")
    if column.constant:
        return Guess(column, "left out", f"every row says the same ({_example(column)})")
    if column.unique and column.rows > 2 and (column.form in ("text", "list") or _is_index(column)):
        return Guess(column, "left out", "different in every row: nothing to learn from")
    return None


def _is_index(column: Profile) -> bool:
    """Whether unique numbers are mere names: ids, or the rows counted."""
    if not column.whole:
        return False
    return looks_like_code(column.name) or column.numbers.max() - column.numbers.min() + 1 == len(column.numbers)


def _example(column: Profile) -> str:
    return _short(str(next((value for value in column.values.to_pylist() if value is not None), "")))


def _short(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= 30 else clean[:27] + "..."


# Tables


def _table_id(columns: Sequence[Profile], part: Literal["user_id", "item_id"], ids: Scores) -> Guess | None:
    """The id: named like one, most of the log's ids among its values, and few rows alike."""
    mine = "user" if part == "user_id" else "item"

    def score(column: Profile) -> float:
        role = Role(part, column.name, "id", required=True)
        if column.form not in ("text", "list", "number") or readable(column, role) is None or not column.full:
            return 0.0
        share = ids.get(column.name, 0.0)
        alike = column.distinct < 0.5 * (column.rows - column.nulls)
        return 0.0 if alike or share == 0 else 10 * share + 2 * hint(column.name, mine)

    best = max(columns, key=score, default=None)
    if best is None or score(best) == 0:
        return None
    named = hint(best.name, mine) >= 2
    why = f"{ids[best.name]:.0%} of the log's {mine}s are in it{', named like one' if named else ''}"
    return Guess(best, part, why, sure=named)


def _title(columns: Sequence[Profile]) -> Guess | None:
    """What is shown to people."""
    named = [c for c in columns if c.form in ("text", "list") and hint(c.name, "title") >= 1 and not c.constant]
    if not named:
        return None
    best = max(named, key=lambda column: (hint(column.name, "title"), column.distinct))
    return Guess(best, "title", "named like one: shown to people, never a model input")


def _feature(column: Profile) -> Guess:
    nothing = useless(column)
    if nothing is not None:
        return nothing
    kind, why = feature_kind(column)
    if kind is None or kind == "text":
        return Guess(column, "left out", why)
    sure = not (column.form == "list" and column.separator == " " and column.declared is None)
    return Guess(column, "feature", why, sure=sure, kind=kind)


def feature_kind(column: Profile) -> tuple[ColumnKind | None, str]:
    """How a column is read, and why; `None` where it is of no use."""
    match column.form:
        case "time":
            return "timestamp", "dates"
        case "list":
            bracketed = column.separator == LIST_FORM
            by = " in brackets" if bracketed else f" set apart by {column.separator!r}" if column.separator else ""
            return "multi_categorical", f"several values a row{by}, {column.members:,} different ones"
        case "number" if column.unit not in (None, "text") and hint(column.name, "time") >= 1:
            return "timestamp", "a clock"
        case "number" if _names_in_numbers(column):
            return "categorical", f"{column.distinct:,} different whole numbers that are names"
        case "number":
            return "numeric", f"numbers from {column.numbers.min():g} to {column.numbers.max():g}"
        case "text" if column.width > _LONG or (column.distinct > _FEW and 1.5 * column.distinct > column.rows):
            return "text", f"prose of some {column.width:.0f} characters: no model here reads text"
        case "text":
            return "categorical", f"{column.distinct:,} different values"
        case _:
            return None, "cannot be read"


def _names_in_numbers(column: Profile) -> bool:
    if column.declared is not None:
        return column.declared == "token"
    return column.whole and (column.binary or looks_like_code(column.name))
