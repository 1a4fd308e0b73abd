import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.retrieval.topk import gather, only, top_k

SCORES = np.array([[1.0, 3.0, -np.inf, 3.0], [-np.inf, -np.inf, -np.inf, -np.inf]], np.float32)


@given(
    st.integers(1, 60).flatmap(
        lambda width: st.lists(
            # Few values: most places are tied, and the last one often.
            st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]), min_size=width, max_size=width),
            min_size=1,
            max_size=4,
        )
    ),
    st.integers(1, 70),
)
@settings(max_examples=150, deadline=None)
def test_it_is_a_sort_by_score_then_code(rows, k):
    codes, scores = top_k(np.array(rows, np.float32), k)
    assert codes.shape == scores.shape == (len(rows), k)
    for row, found, best in zip(rows, codes, scores, strict=True):
        expected = sorted((c for c, score in enumerate(row) if score > -np.inf), key=lambda c: (-row[c], c))[:k]
        padding = k - len(expected)
        assert found.tolist() == expected + [-1] * padding
        assert best.tolist() == [row[c] for c in expected] + [-np.inf] * padding


def test_a_catalogue_without_items_gives_padding():
    codes, scores = top_k(np.zeros((2, 0), np.float32), 3)
    assert codes.tolist() == [[-1] * 3] * 2
    assert np.isneginf(scores).all()


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [([1, 2], [-np.inf, 3.0, -np.inf, -np.inf]), ([], [-np.inf] * 4), ([0], [1.0] + [-np.inf] * 3)],
)
def test_only_the_allowed_keep_their_scores(allowed, expected):
    before = SCORES.copy()
    assert only(SCORES, np.array(allowed, np.int32))[0].tolist() == expected
    assert (before == SCORES).all()


def test_all_allowed_copies_nothing():
    assert only(SCORES, None) is SCORES


def test_gather_picks_and_pads():
    codes = np.array([[3, -1, 0], [-1, 1, 2]], np.int32)
    assert gather(SCORES, codes).tolist() == [[3.0, -np.inf, 1.0], [-np.inf] * 3]
