"""Calibration maps fitted to labelled scores; what serves needs none of this."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from recsys.scoring.calibration import CalibrationMap, Isotonic, Platt, finite

__all__ = ["fit_calibration", "fit_isotonic", "fit_platt"]

Numbers = NDArray[np.floating]
Float64s = NDArray[np.float64]
Labels = NDArray[np.bool_ | np.number]


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
    scale, middle = float(np.std(finite(scores))), float(np.mean(finite(scores)))
    if scale == 0:
        return level
    x = np.stack([(finite(scores) - middle) / scale, np.ones(len(positive))])

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
    values, place, counts = np.unique(finite(scores), return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=np.asarray(labels) > 0) / counts
    least = 1 / (len(place) + 2)
    fitted = np.clip(isotonic_regression(means, weights=counts).x, least, 1 - least)
    inside = (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:])
    kept = np.concatenate([[True], inside, [True]])[: len(values)]
    return Isotonic(tuple(values[kept].tolist()), tuple(fitted[kept].tolist()))
