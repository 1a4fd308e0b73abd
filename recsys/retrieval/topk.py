"""The best k of a row, the same on every machine: ties go to the smaller code."""

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Codes, Floats

__all__ = ["gather", "only", "top_k"]


def top_k(scores: Floats, k: int) -> tuple[Codes, Floats]:
    """The best `k` items of each row.

    Args:
        scores: `(B, N)`, where −inf means never; column is item code.
        k: list length; may exceed N.

    Returns:
        codes `(B, k)` and scores `(B, k)`, best first, −1 and −inf where the row has no more.
    """
    found = min(k, scores.shape[1])
    codes = np.full((len(scores), k), -1, dtype=np.int32)
    best = np.full((len(scores), k), -np.inf, dtype=np.float32)
    if found:
        order = _order(scores, found)
        best[:, :found] = np.take_along_axis(scores, order, axis=1)
        codes[:, :found] = np.where(best[:, :found] > -np.inf, order, -1)
    return codes, best


def _order(scores: Floats, k: int) -> NDArray[np.intp]:
    """Columns of the `k` best of each row, best first, ties by column."""
    if 4 * k >= scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    # Everything that ties with the k-th competes for the last places, so as many are looked at as tie in any row.
    # Of the negatives, as numpy finds the few smallest ten times as fast as the few largest.
    inside = scores >= -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    counts = inside.sum(axis=1)
    rows, found = np.nonzero(inside)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = np.zeros((len(scores), int(counts.max())), dtype=np.intp)
    values = np.full(columns.shape, -np.inf, dtype=scores.dtype)
    columns[rows, place], values[rows, place] = found, scores[rows, found]
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(columns, order, axis=1)


def only(scores: Floats, allowed: Codes | None) -> Floats:
    """Scores with −inf everywhere but at the allowed codes; the same array when all are allowed."""
    if allowed is None:
        return scores
    masked = np.full_like(scores, -np.inf)
    masked[:, allowed] = scores[:, allowed]
    return masked


def gather(scores: Floats, codes: Codes) -> Floats:
    """`(B, C)` the scores `(B, N)` at codes `(B, C)`; −inf at −1."""
    picked = np.take_along_axis(scores, np.maximum(codes, 0), axis=1)
    return np.where(codes >= 0, picked, np.float32(-np.inf))
