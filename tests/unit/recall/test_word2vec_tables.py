import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.recall.word2vec.tables import alias_table, keep_probabilities, negative_weights

COUNTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=60).filter(any).map(np.array)


def chances(table):
    """The probability of each row, summed over the cells that lead to it."""
    stay = table[:, 0] / 2.0**32
    return (stay + np.bincount(table[:, 1], 1 - stay, minlength=len(table))) / len(table)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.sampled_from([-1.0, 0.0, 0.75, 1.0]))
def test_the_alias_table_draws_by_count_to_a_power(counts, power):
    known = counts > 0
    expected = np.zeros(len(counts))
    expected[known] = counts[known].astype(float) ** power
    expected /= expected.sum()
    found = negative_weights(counts, power=power)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(chances(alias_table(found)), expected, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_a_token_without_a_count_is_never_drawn(counts):
    table = alias_table(negative_weights(counts, power=0.0))
    assert not table[counts == 0, 0].any()
    assert (counts[table[:, 1]] > 0).all()


def test_a_power_beyond_any_float_draws_the_most_frequent():
    assert negative_weights(np.array([10, 1000, 999]), power=500.0).argmax() == 1
    assert negative_weights(np.array([10, 1000, 999]), power=-500.0).argmax() == 0


def test_nothing_known_weighs_nothing():
    assert negative_weights(np.zeros(3, dtype=np.int64), power=0.75).tolist() == [0, 0, 0]
    assert alias_table(np.zeros(0)).shape == (0, 2)


def test_frequent_tokens_are_kept_by_the_root_of_threshold_over_frequency():
    keep = keep_probabilities(np.array([0, 1, 9, 90]), subsample=0.01)
    shares = [0.01 / (count / 100) for count in (1, 9, 90)]
    expected = [0, *(min(1.0, np.sqrt(share) + share) for share in shares)]
    np.testing.assert_allclose(keep, expected, rtol=1e-6)


@pytest.mark.parametrize("counts", [[0, 1, 5], [0, 0]])
def test_without_subsampling_all_is_kept(counts):
    assert keep_probabilities(np.array(counts), subsample=0.0).tolist() == [float(count > 0) for count in counts]
