import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recsys.data.sampling import last_of_pairs, sample_weights

codes = st.integers(0, 4).map(np.int32)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(codes, codes), max_size=8), arrays(np.int32, (3, 5), elements=st.integers(-1, 6)))
def test_says_which_pair_a_user_and_an_item_are(pairs, items):
    users = np.arange(3, dtype=np.int32)
    known = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    last = {(int(user), int(item)): number for number, (user, item) in enumerate(pairs)}
    expected = [[last.get((u, int(i)), -1) if i >= 0 else -1 for i in row] for u, row in enumerate(items)]
    np.testing.assert_array_equal(last_of_pairs(users, items, known[:, 0], known[:, 1]), expected)


POSITIVE = np.array([[True, False], [True, False]])
AGE = np.array([[0.0, 0.0], [7.0, 14.0]])
ONES = np.ones((2, 2))


def test_an_old_event_counts_half_after_its_half_life():
    np.testing.assert_allclose(sample_weights(POSITIVE, AGE, half_life=7), [[1, 1], [0.5, 0.25]])


def test_positives_count_by_their_value_and_together_as_before():
    found = sample_weights(POSITIVE, AGE, value=np.array([[30.0, 99.0], [10.0, 99.0]]))
    np.testing.assert_allclose(found, [[1.5, 1], [0.5, 1]])
    np.testing.assert_allclose(sample_weights(POSITIVE, AGE, value=0 * ONES), ONES)


def test_positives_count_the_inverse_of_their_propensity():
    found = sample_weights(POSITIVE, AGE, propensity=np.array([[0.5, 0.1], [0.001, 1.0]]), least_propensity=0.05)
    np.testing.assert_allclose(found, [[2, 1], [20, 1]])
