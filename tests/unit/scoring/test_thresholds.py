"""The chosen threshold, against all there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from recsys.scoring.thresholds import best_threshold

rows = st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=25)


def balanced(labels, said):
    """The mean recall of both classes, those that are there."""
    own = [recall_score(labels == y, said == y) for y in (True, False) if (labels == y).any()]
    return sum(own)


ORACLES = {"f1": lambda labels, said: f1_score(labels, said, zero_division=0.0), "balanced_accuracy": balanced}


@pytest.mark.parametrize("objective", ORACLES)
@settings(max_examples=80, deadline=None)
@given(rows)
def test_no_threshold_is_better(objective, told):
    labels, chances = np.array([y for y, _ in told]), np.array([p / 10 for _, p in told])
    found = best_threshold(objective, labels, chances)
    judge = ORACLES[objective]
    best = max(judge(labels, chances >= threshold) for threshold in np.unique(chances))
    assert judge(labels, chances >= found) == pytest.approx(best)
    # Far from every row: rounding turns no answer.
    assert np.abs(chances - found).min() > 0.04
