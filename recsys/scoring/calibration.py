"""From a ranker's scores to probabilities, by maps that never change an order."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

__all__ = ["Calibration", "CalibrationMap", "Isotonic", "Platt", "finite"]

Numbers = NDArray[np.floating]
Float64s = NDArray[np.float64]

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
        return self.slope * finite(scores) + self.intercept


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
        return np.asarray(logit(np.interp(finite(scores), self.scores, self.probabilities)))


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


def _map_of(told: dict[str, Any]) -> CalibrationMap:
    if told["kind"] == Platt.kind:
        return Platt(float(told["slope"]), float(told["intercept"]))
    if told["kind"] == Isotonic.kind:
        return Isotonic(tuple(map(float, told["scores"])), tuple(map(float, told["probabilities"])))
    raise ValueError(f"calibration: found kind {told['kind']!r}, expected {Platt.kind} or {Isotonic.kind}")


def finite(scores: Numbers) -> Float64s:
    """Scores in double precision, those beyond ±1e30 as these."""
    return np.clip(np.asarray(scores, dtype=np.float64), -_LARGEST, _LARGEST)
