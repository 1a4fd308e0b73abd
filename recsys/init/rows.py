"""Click logs without users and items: a label, and columns by which a row is scored."""

import re
from collections.abc import Sequence
from typing import Any

from recsys.init.guess import Guess, feature_kind, find_time, guess_label, useless
from recsys.init.names import hint, looks_like_code
from recsys.init.objective import Objective
from recsys.init.plan import Plan
from recsys.init.profile import Profile

__all__ = ["ROWS_WHY", "guess_rows", "has_no_ids", "plan_rows"]

ROWS_WHY = (
    "the log has neither a user nor an item, so there is nothing to recommend: this is a click model, which scores rows"
)
_FEATURES = 5
_ANONYMOUS = 5
_LONG = 60
_FIELD_NUMBER = re.compile(r"^\d+(_\d+)*$")
_CATEGORY = re.compile(r"^(c|cat|sparse|f)_?\d+$", re.IGNORECASE)
_NUMBER = re.compile(r"^(i|int|num|dense|n)_?\d+$", re.IGNORECASE)


def has_no_ids(columns: Sequence[Profile]) -> bool:
    """Whether a log is one of rows that were clicked or not, and names neither users nor items.

    Conservative: a label of 0 and 1, no column named like a user, an item or a session, and many others. Where several
    columns have but numbers for names (`C14`, `I3`, `101`), one may be named like an item: the log is anonymised.
    """
    clicks = [column for column in columns if _is_click(column)]
    anonymous = sum(any(form.match(column.name) for form in (_CATEGORY, _NUMBER, _FIELD_NUMBER)) for column in columns)
    ids = ("user", "session", "request") if anonymous >= _ANONYMOUS else ("user", "item", "session", "request")
    named = any(hint(column.name, part) >= 2 for column in columns for part in ids)
    return bool(clicks) and not named and len(columns) - len(clicks) >= _FEATURES


def _is_click(column: Profile) -> bool:
    return column.binary and column.distinct == 2 and hint(column.name, "click") >= 2


def guess_rows(columns: Sequence[Profile], given: str | None = None) -> list[Guess]:
    """The parts of the columns: labels, perhaps a time, and context.

    Args:
        columns: What the columns are like.
        given: The column that the user named as the time.
    """
    labels = [column.name for column in columns if _is_click(column)]
    if not labels:
        labels = [column.name for column in columns if column.binary and column.distinct == 2][:1]
    others = [column for column in columns if column.name not in labels]
    told = {column.name: Guess(column, "timestamp", "as told") for column in columns if column.name == given}
    time = next(iter(told.values()), None) or _sure_time(others)
    named = {time.column: time} if time else {}
    return [
        named.get(column.name)
        or (guess_label(column, sure=_is_click(column)) if column.name in labels else _input(column))
        for column in columns
    ]


def _sure_time(columns: Sequence[Profile]) -> Guess | None:
    """A time that name and values agree on: a number column may look like one by chance."""
    time = find_time(columns)
    return time if time is not None and time.sure else None


def _input(column: Profile) -> Guess:
    nothing = useless(column)
    if nothing is not None and not (
        column.form == "number" and not column.constant and not looks_like_code(column.name)
    ):
        return nothing
    if column.form == "number":
        category = _is_category(column)
        why = f"{column.distinct:,} different whole numbers that are names" if category else feature_kind(column)[1]
        return Guess(column, "context", why, sure=False, kind="categorical" if category else "numeric")
    if column.form == "text" and column.width <= _LONG:
        return Guess(column, "context", f"{column.distinct:,} different values", kind="categorical")
    kind, why = feature_kind(column)
    if kind is None or kind == "text":
        return Guess(column, "left out", why)
    return Guess(column, "context", why, sure=kind != "multi_categorical", kind=kind)


def _is_category(column: Profile) -> bool:
    """Whether numbers are names: as declared, by the name of the column, or whole, large and without small ones."""
    if column.declared is not None or _NUMBER.match(column.name) or not column.whole:
        return column.declared == "token"
    if _CATEGORY.match(column.name) or _FIELD_NUMBER.match(column.name) or looks_like_code(column.name):
        return True
    return bool(column.numbers.min() >= 1000 and column.distinct > 20)


def plan_rows(objective: Objective, rows: int, *, timed: bool) -> Plan:
    """The settings of a click model: a cut, and a ranker that learns from the rows themselves."""
    shares = {"rank": 0, "valid": 0.1, "test": 0.1}
    split: dict[str, Any] = {"kind": "global_time" if timed else "random", **shares}
    model = {"kind": "deepfm", "embedding_dim": 8 if rows < 1_000_000 else 16, "hidden": [64, 32]}
    training = {"epochs": 5, "batch_size": 256 if rows < 50_000 else 1024, "threads": 1}
    cut = "cut at moments: the rows to test on are the last" if timed else "rows fall into the windows at random"
    return Plan(
        order="timestamp" if timed else "none",
        split=split,
        routes={},
        fusion={},
        ranking={"model": model, "samples": {"kind": "events"}, "loss": "bce", "training": training},
        policy={},
        refit="recall",
        evaluation={},
        why={
            "split": cut,
            "routes": ROWS_WHY,
            "ranking": f"the rows themselves; {objective.label} is 1 in {objective.share:.1%} of them",
            "policy": "",
            "fusion": "",
        },
    )
