"""Percentile bootstrap over requests (Efron & Tibshirani 1993, chapter 13): how far a mean could be off by chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "interval", "intervals", "paired"]

_BLOCK = 2**22
"""Draws held at once: bounds memory, whatever the number of requests."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval it is expected in.

    Attributes:
        mean: of the values as they are.
        low: lower end.
        high: upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside; for a difference: whether chance alone is an unlikely reason for it."""
        return self.low > 0 or self.high < 0


def interval(
    values: NDArray[np.float64], rng: np.random.Generator, *, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """The mean of one value a request, with its interval.

    Args:
        values: `(Q,)`, Q ≥ 1.
        rng: draws the resamples; the same state gives the same interval.
        resamples: how often Q requests are drawn with replacement.
        level: probability between the ends.

    Raises:
        ValueError: there are no values.

    Example:
        >>> interval(np.full(4, 0.25), np.random.default_rng(0))
        Interval(mean=0.25, low=0.25, high=0.25)
    """
    return intervals(values[:, None], rng, resamples=resamples, level=level)[0]


def intervals(
    values: NDArray[np.float64], rng: np.random.Generator, *, resamples: int = 1000, level: float = 0.95
) -> list[Interval]:
    """The mean of each column with its interval; the requests are drawn once for all columns.

    Args:
        values: `(Q, M)` M values of each request, Q ≥ 1.
        rng: as in `interval`.
        resamples: as in `interval`.
        level: as in `interval`.

    Raises:
        ValueError: there are no requests.
    """
    count = len(values)
    if not count:
        raise ValueError("values: empty; the mean of no requests has no interval")
    block = max(_BLOCK // count, 1)
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    means = np.concatenate([_drawn(count, size, rng) @ values / count for size in sizes])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    columns = zip(values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
    return [Interval(*column) for column in columns]


def paired(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The mean of `a − b` with its interval, both measured on the same requests.

    Drawing requests, not lists, keeps what makes a request hard out of the comparison; the intervals of two means may
    overlap where the interval of the difference is far from 0.

    Args:
        a: `(Q,)` one value a request.
        b: `(Q,)` of the same requests, in the same order.
        rng: as in `interval`.
        resamples: as in `interval`.
        level: as in `interval`.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} values, b has {len(b)}; a paired comparison needs the same requests")
    return interval(a - b, rng, resamples=resamples, level=level)


def _drawn(count: int, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`(size, count)` how often each request was drawn in each resample."""
    rows = [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(size)]
    return np.stack(rows).astype(np.float64)
