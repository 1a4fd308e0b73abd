"""From a ranker's scores to probabilities, by maps that never change an order."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

__all__ = ["Calibration", "CalibrationMap", "Isotonic", "Platt", "fit_calibration", "fit_isotonic", "fit_platt"]

Numbers = NDArray[np.floating]
Float64s = NDArray[np.float64]
Labels = NDArray[np.bool_ | np.number]

_LARGEST = 1e30
"""Scores beyond count as this: of an item that a ranker overflowed on."""


@dataclass(frozen=True, slots=True)
class Platt:
    """A line: log-odds = slope · score + intercept.

    Attributes:
        slope: not negative.
        intercept: log-odds of a score of 0.
    """

    kind: ClassVar[str] = "platt"
    slope: float
    intercept: float

    def log_odds(self, scores: Numbers) -> Float64s:
        """Of scores of any shape."""
        return self.slope * _finite(scores) + self.intercept


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines between points, level beyond the first and the last.

    Attributes:
        scores: of the points, ascending.
        probabilities: at these scores, never descending, none of them 0 or 1.
    """

    kind: ClassVar[str] = "isotonic"
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def log_odds(self, scores: Numbers) -> Float64s:
        """Of scores of any shape."""
        return np.asarray(logit(np.interp(_finite(scores), self.scores, self.probabilities)))


CalibrationMap = Platt | Isotonic


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the scores of a ranker's tasks say of probabilities.

    Attributes:
        maps: of each task, from its scores.
        thresholds: of each task, the probability from which it is a yes; empty where nobody asked.
    """

    maps: tuple[CalibrationMap, ...]
    thresholds: tuple[float, ...] = ()

    def log_odds(self, scores: Numbers, task: int = 0) -> Float64s:
        """Calibrated log-odds of a task's scores, of any shape."""
        return self.maps[task].log_odds(scores)

    def probabilities(self, scores: Numbers) -> Float64s:
        """Probabilities of the scores of all tasks: `(…, T)` of `(…, T)`."""
        odds = [self.log_odds(scores[..., task], task) for task in range(len(self.maps))]
        return np.asarray(expit(np.stack(odds, axis=-1)))

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads."""
        return {"maps": [{"kind": own.kind, **asdict(own)} for own in self.maps], "thresholds": list(self.thresholds)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """What `to_json` gave. Raises `KeyError`, `TypeError` or `ValueError` when it is something else."""
        return cls(tuple(map(_map_of, told["maps"])), tuple(map(float, told["thresholds"])))


def fit_calibration(kind: Literal["none", "platt", "isotonic"], scores: Numbers, labels: Labels) -> CalibrationMap:
    """The map of a kind that fits scores `(n,)` to labels `(n,)`; of `none`, scores are log-odds already."""
    match kind:
        case "platt":
            return fit_platt(scores, labels)
        case "isotonic":
            return fit_isotonic(scores, labels)
        case "none":
            return Platt(1.0, 0.0)


def fit_platt(scores: Numbers, labels: Labels) -> Platt:
    """The line of the highest likelihood of smoothed labels (Platt 1999, section 2.2; Lin 2007).

    A positive counts as (p + 1) / (p + 2), a negative as 1 / (n + 2), of p positives and n negatives: scores that tell
    the classes apart get a finite slope. Where higher scores are less often positive, the best line that keeps their
    order is level.

    Args:
        scores: `(n,)`, none of them NaN.
        labels: `(n,)` 0 or 1.
    """
    positive = np.asarray(labels) > 0
    count = int(positive.sum())
    target = np.where(positive, (count + 1) / (count + 2), 1 / (len(positive) - count + 2))
    level = Platt(0.0, float(logit(target.mean())))
    scale, middle = float(np.std(_finite(scores))), float(np.mean(_finite(scores)))
    if scale == 0:
        return level
    x = np.stack([(_finite(scores) - middle) / scale, np.ones(len(positive))])

    def loss(line: Float64s) -> tuple[float, Float64s]:
        odds = line @ x
        value = np.mean(np.logaddexp(0, odds) - target * odds)
        return float(value), x @ (expit(odds) - target) / len(target)

    def curvature(line: Float64s) -> Float64s:
        odds = line @ x
        return np.asarray((x * expit(odds) * expit(-odds)) @ x.T / len(target))

    start = np.array([0.0, level.intercept])
    slope, intercept = minimize(loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-9}).x
    line = Platt(float(slope / scale), float(intercept - slope * middle / scale))
    return line if line.slope > 0 else level


def fit_isotonic(scores: Numbers, labels: Labels) -> Isotonic:
    """The rising step function of the least squared error, with lines between its steps (Zadrozny and Elkan 2002).

    Of n rows no probability is below 1 / (n + 2) or above 1 less that: rows that were all of one class do not prove
    that others will be.

    Args:
        scores: `(n,)`, none of them NaN.
        labels: `(n,)` 0 or 1.
    """
    values, place, counts = np.unique(_finite(scores), return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=np.asarray(labels) > 0) / counts
    least = 1 / (len(place) + 2)
    fitted = np.clip(isotonic_regression(means, weights=counts).x, least, 1 - least)
    inside = (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:])
    kept = np.concatenate([[True], inside, [True]])[: len(values)]
    return Isotonic(tuple(values[kept].tolist()), tuple(fitted[kept].tolist()))


def _map_of(told: dict[str, Any]) -> CalibrationMap:
    if told["kind"] == Platt.kind:
        return Platt(float(told["slope"]), float(told["intercept"]))
    if told["kind"] == Isotonic.kind:
        return Isotonic(tuple(map(float, told["scores"])), tuple(map(float, told["probabilities"])))
    raise ValueError(f"calibration: found kind {told['kind']!r}, expected {Platt.kind} or {Isotonic.kind}")


def _finite(scores: Numbers) -> Float64s:
    return np.clip(np.asarray(scores, dtype=np.float64), -_LARGEST, _LARGEST)
