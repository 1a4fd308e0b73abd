"""What counts as a positive and what the models learn to tell apart, chosen from the labels, with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.data.columns import Role, parse
from recsys.init.guess import Guess
from recsys.init.names import hint, words

__all__ = ["Objective", "choose_objective", "rows_objective"]

_WATCHED = {"watch", "duration", "dwell", "seconds", "minutes", "playtime", "hours", "progress", "percent", "listened"}
_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Objective:
    """What is learnt.

    Attributes:
        kind: `implicit`: every event is a positive; `ratings` and `amounts`: events from a threshold on;
            `impressions`: the rows with the label, against those that were shown without it; `rows`: the same where
            there is neither user nor item.
        label: The label that decides; `None` with `implicit`.
        at_least: An event is a positive from this value on.
        share: Of positives among the rows looked at.
        positive: Which rows are positives, shape (N,).
        why: The reason, in words.
        sure: Whether the label was recognised rather than guessed.
    """

    kind: Literal["implicit", "ratings", "amounts", "impressions", "rows"]
    label: str | None
    at_least: float
    share: float
    positive: NDArray[np.bool_]
    why: str
    sure: bool = True


def choose_objective(guesses: Sequence[Guess], rows: int) -> Objective:
    """Picks the objective.

    Args:
        guesses: The parts of the log's columns.
        rows: Rows looked at, N.
    """
    labels = sorted((guess for guess in guesses if guess.part == "label"), key=_rank)
    clicks = [label for label in labels if label.profile.binary and label.profile.distinct == 2]
    if clicks:
        return _impressions(clicks[0])
    ratings = [label for label in labels if hint(label.column, "rating") >= 1 or not label.sure]
    ratings = [label for label in ratings if label.profile.distinct > 1]
    if ratings:
        return _ratings(ratings[0])
    amounts = [label for label in labels if hint(label.column, "amount") >= 1]
    if amounts:
        return _amounts(amounts[0], rows)
    return _implicit(f"the log says what people did and has no label to weigh it by{_passed_over(guesses)}", rows)


def rows_objective(guesses: Sequence[Guess], rows: int) -> Objective | None:
    """The label of a click model; `None` where there is none of 0 and 1."""
    found = choose_objective(guesses, rows)
    if found.kind != "impressions":
        return None
    why = f"{found.label} is 1 in {found.share:.1%} of the rows; each row is scored by its own columns"
    return replace(found, kind="rows", why=why)


def _passed_over(guesses: Sequence[Guess]) -> str:
    """Columns named like a label that could not be one: the reader may know better than to call all events positive."""
    named = [
        guess
        for guess in guesses
        if guess.part == "left out" and max(hint(guess.column, part) for part in ("click", "rating")) >= 2
    ]
    return "".join(f" ({guess.column} is left out: {guess.why})" for guess in named)


def _rank(label: Guess) -> tuple[bool, bool]:
    """Clicks before other outcomes, what was recognised before what was guessed."""
    return ("click" not in " ".join(words(label.column)), not label.sure)


def _values(label: Guess) -> NDArray[np.float64]:
    """The label of every row, NaN where it has none."""
    values = parse(label.profile.values, Role(label.column, label.column, "numeric")).values
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _from(label: Guess, at_least: float) -> tuple[NDArray[np.bool_], float]:
    values = _values(label)
    positive = np.nan_to_num(values, nan=-np.inf) >= at_least
    return positive, float(positive.mean())


def _impressions(label: Guess) -> Objective:
    positive, share = _from(label, 1.0)
    why = (
        f"{label.column} is 0 in {1 - share:.1%} of the rows: what was shown and not chosen is logged, so the ranker "
        f"learns from these rows as they are (exposed negatives)"
    )
    return Objective("impressions", label.column, 1.0, share, positive, why, sure=label.sure)


def _ratings(label: Guess) -> Objective:
    """The grade from which on the share of positives is nearest to a half."""
    grades = np.unique(label.profile.numbers)
    shares = [float((label.profile.numbers >= grade).mean()) for grade in grades[1:]]
    at_least = float(grades[1:][int(np.argmin(np.abs(np.array(shares) - 0.5)))])
    positive, share = _from(label, at_least)
    why = (
        f"{label.column} is a grade from {grades[0]:g} to {grades[-1]:g}: from {at_least:g} on it counts as liked, "
        f"which {share:.0%} of the rows are; negatives are drawn from the candidates, since what is not graded was "
        "not refused"
    )
    return Objective("ratings", label.column, at_least, share, positive, why, sure=label.sure)


def _amounts(label: Guess, rows: int) -> Objective:
    numbers = label.profile.numbers
    above = numbers[numbers > 0]
    if not len(above):
        return _implicit(f"{label.column} is never above 0", rows)
    if _WATCHED.intersection(words(label.column)):
        at_least, how = _rounded(float(np.quantile(above, 0.25))), "the shortest quarter counts as turned away from"
    elif numbers.min() <= 0:
        at_least, how = _rounded(float(above.min())), "nothing above 0 means: not wanted"
    else:
        return _implicit(f"{label.column} is above 0 in every row, so every row is something wanted", rows)
    positive, share = _from(label, at_least)
    why = (
        f"{label.column} runs from {numbers.min():g} to {numbers.max():g}: {how}; {share:.0%} of the rows are "
        "positives, negatives are drawn from the candidates"
    )
    return Objective("amounts", label.column, at_least, share, positive, why, sure=False)


def _rounded(value: float) -> float:
    """Down to two digits, so that the number it came from still reaches it after rounding to 32 bits."""
    step = 10.0 ** (np.floor(np.log10(value)) - _DIGITS + 1)
    return float(f"{np.floor(value / step * (1 - 1e-6)) * step:.{_DIGITS}g}")


def _implicit(because: str, rows: int) -> Objective:
    why = f"{because}: every event is a positive, negatives are drawn from the candidates"
    return Objective("implicit", None, 0.0, 1.0, np.ones(rows, dtype=np.bool_), why)
