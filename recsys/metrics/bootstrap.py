"""Percentile bootstrap over requests (Efron & Tibshirani 1993, chapter 13): how far a mean could be off by chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "interval", "paired"]

_BLOCK = 2**22
"""Draws made at once: bounds memory, whatever the number of requests."""


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
        >>> interval(np.full(5, 0.25), np.random.default_rng(0))
        Interval(mean=0.25, low=0.25, high=0.25)
    """
    if not len(values):
        raise ValueError("values: empty; the mean of no requests has no interval")
    block = max(_BLOCK // len(values), 1)
    means = np.concatenate([_means(values, rng, min(block, resamples - start)) for start in range(0, resamples, block)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


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


def _means(values: NDArray[np.float64], rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    drawn = values[rng.integers(len(values), size=(count, len(values)))]
    means: NDArray[np.float64] = drawn.mean(axis=1)
    return means
