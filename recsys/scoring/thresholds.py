"""The probability from which a ranker says yes."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_threshold"]

Numbers = NDArray[np.bool_ | np.number]


def best_threshold(objective: Literal["f1", "balanced_accuracy"], labels: Numbers, probabilities: Numbers) -> float:
    """The threshold whose yes, to all rows at or above it, is best.

    It lies halfway between the last row that gets a yes and the next, so that rounding turns no answer. Of thresholds
    that are equally good the highest.

    Args:
        objective: `f1`: 2·tp / (rows that get a yes + positives), which asks for few false ones where positives are
            rare; `balanced_accuracy`: the mean of the shares of both classes that are told right.
        labels: `(n,)` 0 or 1.
        probabilities: `(n,)`.

    Example:
        >>> best_threshold("f1", np.array([1, 0, 1, 0, 0]), np.array([0.9, 0.5, 0.5, 0.3, 0.1]))
        0.4
    """
    order = np.argsort(-np.asarray(probabilities, dtype=np.float64), kind="stable")
    ranked, hits = np.asarray(probabilities, dtype=np.float64)[order], (np.asarray(labels) > 0)[order]
    # Equal rows get the same answer: only the last of them ends a set.
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    said, right = last + 1, np.cumsum(hits)[last]
    positives = int(hits.sum())
    if objective == "f1":
        value = 2 * right / (said + positives)
    else:
        negatives = len(hits) - positives
        value = right / max(positives, 1) + (negatives - said + right) / max(negatives, 1)
    best = int(np.argmax(value))
    below = ranked[last[best + 1]] if best + 1 < len(last) else 0.0
    return float((ranked[last[best]] + below) / 2)
