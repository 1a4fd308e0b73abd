"""Names of the columns of files without a header, where their values leave little doubt."""

from collections.abc import Sequence

__all__ = ["GUESSED_FROM", "guess_names"]

GUESSED_FROM = "four columns hold whole numbers, whole numbers, a few grades, and seconds since 1970"
_EPOCH = (5e8, 5e9)
_GRADES = 11


def guess_names(rows: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """Names for the best-known form: user, item, rating, time; `None` for any other.

    Example:
        >>> guess_names([["196", "242", "3", "881250949"], ["186", "302", "3", "891717742"]])
        ('user_id', 'item_id', 'rating', 'timestamp')
    """
    try:
        user, item, rating, time = zip(*[map(float, row) for row in rows], strict=True)
    except ValueError:
        return None
    ids = all(value >= 0 and value % 1 == 0 for value in (*user, *item))
    grades = len(set(rating)) <= _GRADES and all(0 <= grade <= 10 and grade * 2 % 1 == 0 for grade in rating)
    moments = all(_EPOCH[0] <= value <= _EPOCH[1] for value in time)
    return ("user_id", "item_id", "rating", "timestamp") if ids and grades and moments else None
