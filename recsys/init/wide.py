"""Wide logs: the columns that say something of the item or the user rather than of the event.

A column belongs to an item (or a user) if the rows of each id agree in its value. Which is judged on rows of ids that
occur twice or more, and only if the column varies so much that chance would not make them agree. A missing value is a
value here: a column that is filled in only after a purchase would tell the future of an item.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.attributes import codes_of, contradictions, most_frequent
from recsys.init.guess import Guess, find, guess_attributes, useless
from recsys.init.names import hint
from recsys.init.profile import profile

__all__ = ["Attributes", "move_attributes"]

Side = Literal["user_id", "item_id"]

_TOLERANCE = 0.01
"""Share of the rows that may contradict; ingest tolerates twice as much, since a sample is not the whole log."""
_IDS = 10
_SURPRISING = 10.0
"""Rows that would contradict if values fell to the rows at random."""
_TABLES: dict[Side, str] = {"user_id": "users", "item_id": "items"}


@dataclass(frozen=True, slots=True)
class Attributes:
    """Columns of a log that make a table of users or items.

    Attributes:
        side: Whose.
        guesses: What each is taken for, judged by one value an id.
        ids: How many ids there are.
    """

    side: Side
    guesses: list[Guess]
    ids: int


def move_attributes(guesses: Sequence[Guess], sides: Sequence[Side]) -> tuple[list[Guess], dict[Side, Attributes]]:
    """Takes the columns that the item or the user settles out of a log.

    Args:
        guesses: Of all columns of the log.
        sides: The sides that have no table of their own.

    Returns:
        The guesses that stay, and the attributes by side, where there are any.
    """
    settled = {guess.column: _settled_by(guess, guesses, sides) for guess in guesses}
    moved: dict[Side, Attributes] = {}
    kept = [_explained(guess, settled[guess.column]) for guess in guesses]
    for side in sides:
        mine = [guess for guess in guesses if list(settled[guess.column]) == [side] and not _outcome(guess)]
        own = find(guesses, side)
        if own is None or not mine:
            continue
        found = _attributes(mine, own, side, settled)
        if any(guess.part != "left out" for guess in found):
            moved[side] = Attributes(side, found, own.profile.distinct)
            names = {guess.column for guess in found}
            kept = [guess for guess in kept if guess.column not in names]
    return kept, moved


def _explained(guess: Guess, settled: dict[Side, str]) -> Guess:
    """An outcome that an id settles: why it is no attribute."""
    if not settled or not _outcome(guess) or guess.part == "label":
        return guess
    (side, evidence), *_ = settled.items()
    why = (
        f"{evidence}, but named like an outcome: it may count what happened later; name it under data."
        f"{_TABLES[side]}.columns if it was known before"
    )
    return Guess(guess.profile, "left out", why)


def _outcome(guess: Guess) -> bool:
    return max(hint(guess.column, part) for part in ("click", "rating")) >= 2 and hint(guess.column, "title") < 2


def _settled_by(guess: Guess, guesses: Sequence[Guess], sides: Sequence[Side]) -> dict[Side, str]:
    """By side that settles the column: the evidence."""
    movable = guess.part in ("context", "left out") and guess.column not in ("user_id", "item_id")
    if not movable or guess.profile.form in ("empty", "other") or useless(guess.profile) is not None:
        return {}
    values = codes_of(guess.profile.values) + 1
    found: dict[Side, str] = {}
    for side in ("item_id", "user_id"):
        own = find(guesses, side)
        if own is None or (side == "user_id" and hint(own.column, "session") >= 2):
            # What is the same within a session is known of its events, not of a user who comes back.
            continue
        evidence = _evidence(codes_of(own.profile.values), values, side.removesuffix("_id"))
        if evidence is not None:
            found[side] = evidence
    return found if set(found) <= set(sides) else {}


def _evidence(ids: NDArray[np.int64], values: NDArray[np.int64], noun: str) -> str | None:
    """Why the id settles the value; `None` where it does not, or where the rows cannot tell."""
    sizes = np.bincount(ids[ids >= 0])
    several = sizes > 1
    rows = np.flatnonzero((ids >= 0) & np.append(several, False)[ids])
    if several.sum() < _IDS:
        return None
    wrong, of = contradictions(ids[rows], values[rows])
    by_chance = of - int(np.bincount(values[rows]).max())
    if wrong > _TOLERANCE * of or by_chance < _SURPRISING or wrong > 0.2 * by_chance:
        return None
    share = "all" if not wrong else f"{1 - wrong / of:.1%}"
    return f"the same in {share} of {of:,} rows of one {noun}"


def _attributes(mine: Sequence[Guess], own: Guess, side: Side, settled: dict[str, dict[Side, str]]) -> list[Guess]:
    """The columns judged by one value an id: a title, features, or of no use."""
    ids = codes_of(own.profile.values)
    profiles = []
    for guess in mine:
        rows, _ = most_frequent(ids, codes_of(guess.profile.values))
        values = guess.profile.values.take(pa.array(rows))
        profiles.append(profile(guess.column, values, guess.profile.declared))
    return [
        Guess(
            found.profile,
            found.part,
            found.why if found.part == "left out" else f"{settled[found.column][side]}; {found.why}",
            sure=found.part == "left out",
            kind=found.kind,
        )
        for found in guess_attributes(profiles, side)
    ]
