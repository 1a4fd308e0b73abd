"""Confidence intervals by resampling queries (Efron 1979), percentile method."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "interval", "paired"]

_CHUNK = 100
"""Resamples drawn together."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the interval of its resampled means."""

    mean: float
    low: float
    high: float


def interval(
    values: NDArray[np.float64], rng: np.random.Generator, *, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """The mean of per-query values, and its confidence interval.

    Args:
        values: `(Q,)`, at least one.
        rng: randomness.
        resamples: how many.
        level: coverage, in (0, 1).
    """
    means = np.concatenate(
        [
            values[rng.integers(0, len(values), (min(_CHUNK, resamples - start), len(values)))].mean(axis=1)
            for start in range(0, resamples, _CHUNK)
        ]
    )
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
    """The mean of a − b over the same queries, and its confidence interval; arguments as in `interval`."""
    return interval(a - b, rng, resamples=resamples, level=level)
