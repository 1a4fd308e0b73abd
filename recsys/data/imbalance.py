"""Rows of two classes brought to a stated ratio, and what that does to the odds that are learned.

A model that learns from rows of which a class was multiplied learns log-odds that are off by the logarithm of the same
factor, and by nothing else (King and Zeng 2001, section 4.1). Training therefore adds it to the scores before the loss
sees them (`Samples.offset`): what is served needs no correction.
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["balancing_weight", "gained_log_odds", "over_sampled", "under_sampled"]

Bool = NDArray[np.bool_]
Positions = NDArray[np.int64]


def under_sampled(positive: Bool, negatives_per_positive: float, rng: np.random.Generator) -> Positions:
    """Positions of all positives and of as many negatives, drawn at random, as the ratio allows; ascending.

    Args:
        positive: `(n,)`.
        negatives_per_positive: the ratio; rows that have fewer negatives are all kept.
        rng: randomness.
    """
    negatives = np.flatnonzero(~positive)
    wanted = round(negatives_per_positive * int(positive.sum()))
    kept = negatives if wanted >= len(negatives) else rng.choice(negatives, wanted, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(positive), kept]))


def over_sampled(positive: Bool, negatives_per_positive: float, rng: np.random.Generator) -> Positions:
    """Positions of all rows, positives repeated until the ratio is reached; ascending.

    Each positive is there equally often, give or take one.

    Args:
        positive: `(n,)`.
        negatives_per_positive: the ratio; rows that have fewer negatives are left as they are.
        rng: draws which are there once more.
    """
    own = np.flatnonzero(positive)
    missing = round((len(positive) - len(own)) / negatives_per_positive) - len(own)
    if missing <= 0 or not len(own):
        return np.arange(len(positive))
    times, rest = divmod(missing, len(own))
    more = np.concatenate([np.tile(own, times), rng.choice(own, rest, replace=False)])
    return np.sort(np.concatenate([np.arange(len(positive)), more]))


def balancing_weight(positive: Bool, negatives_per_positive: float) -> float:
    """What each positive is to weigh so that negatives weigh so many times as much as positives together.

    1 where a class is missing.
    """
    own = int(positive.sum())
    negatives = len(positive) - own
    return negatives / (negatives_per_positive * own) if own and negatives else 1.0


def gained_log_odds(before: Bool, after: Bool) -> float:
    """How far the log-odds of a positive moved from one set of rows to another; 0 where a class is missing."""
    counts = [int(rows.sum()) for rows in (before, ~before, after, ~after)]
    if not all(counts):
        return 0.0
    return math.log(counts[2] / counts[3]) - math.log(counts[0] / counts[1])
