"""Rows brought to a ratio."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.imbalance import balancing_weight, gained_log_odds, over_sampled, under_sampled

rows = st.lists(st.booleans(), min_size=1, max_size=40).map(np.array)
ratio = st.floats(0.2, 5)


def rng():
    return np.random.default_rng(0)


@settings(max_examples=100, deadline=None)
@given(rows, ratio)
def test_negatives_are_left_out_until_the_ratio_is_reached(positive, ratio):
    kept = under_sampled(positive, ratio, rng())
    assert (np.diff(kept) > 0).all()
    assert positive[kept].sum() == positive.sum()
    assert (~positive[kept]).sum() == min((~positive).sum(), round(ratio * positive.sum()))


@settings(max_examples=100, deadline=None)
@given(rows, ratio)
def test_positives_are_repeated_until_the_ratio_is_reached(positive, ratio):
    times = np.bincount(over_sampled(positive, ratio, rng()), minlength=len(positive))
    own, negatives = times[positive], int((~positive).sum())
    assert (times[~positive] == 1).all()
    if len(own):
        assert own.max() - own.min() <= 1
        assert own.sum() == max(len(own), round(negatives / ratio))


def test_which_negatives_stay_is_up_to_the_seed():
    positive = np.arange(1000) < 20
    one, two, other = (under_sampled(positive, 3, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert 0 < len(np.intersect1d(one[20:], other[20:])) < 30


def test_weights_and_log_odds_are_those_of_the_counts():
    positive = np.arange(1000) < 50
    assert balancing_weight(positive, 2) == pytest.approx(950 / 100)
    assert gained_log_odds(positive, positive[under_sampled(positive, 2, rng())]) == pytest.approx(math.log(9.5))
    assert gained_log_odds(positive, positive[over_sampled(positive, 2, rng())]) == pytest.approx(math.log(9.5))
    for missing in (np.zeros(5, bool), np.ones(5, bool)):
        assert balancing_weight(missing, 2) == 1
        assert gained_log_odds(missing, missing) == 0
