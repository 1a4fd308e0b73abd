import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recsys.data.sampling import among_pairs

codes = st.integers(0, 4).map(np.int32)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(codes, codes), max_size=8), arrays(np.int32, (3, 5), elements=st.integers(-1, 6)))
def test_says_which_users_have_which_items(pairs, items):
    users = np.arange(3, dtype=np.int32)
    known = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    expected = [[float((u, i) in {(int(a), int(b)) for a, b in pairs}) for i in row] for u, row in enumerate(items)]
    np.testing.assert_array_equal(among_pairs(users, items, known[:, 0], known[:, 1]), expected)
