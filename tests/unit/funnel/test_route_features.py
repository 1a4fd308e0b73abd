import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.features.batch import QueryBatch
from recsys.funnel.route_features import normalise, route_feature_names, route_features, route_fields
from recsys.retrieval.fusion import Candidates


class Table:
    """A route whose scores are a stored table `(B, N)`."""

    kind = "table"

    def __init__(self, scores):
        self.scores = np.array(scores, dtype=np.float32)

    def score(self, queries, codes):
        picked = np.take_along_axis(self.scores, np.maximum(codes, 0), axis=1)
        return np.where(codes >= 0, picked, -np.inf).astype(np.float32)


def queries(count=1):
    return QueryBatch(np.full((count, 1), -1, dtype=np.int32), np.zeros(count, dtype=np.int32), {})


def candidates():
    """Route `a` found items 4, 2; route `b` found 2, 0; fused: 2, 4, 0, padding."""
    return Candidates(
        codes=np.array([[2, 4, 0, -1]], dtype=np.int32),
        scores=np.array([[3.0, 2.0, 1.0, -np.inf]], dtype=np.float32),
        routes=("a", "b"),
        ranks=np.array([[[1, 0, -1, -1]], [[0, -1, 1, -1]]], dtype=np.int32),
        route_scores=np.full((2, 1, 4), -np.inf, dtype=np.float32),
    )


RETRIEVERS = {"a": Table([[1.0, 5.0, 3.0, -np.inf, 5.0]]), "b": Table([[7.0, 7.0, 7.0, -np.inf, -np.inf]])}
SIGMA = np.sqrt(8 / 3)  # of a's scores 3, 5, 1 of the fused items 2, 4, 0


def test_candidates_are_described_as_documented():
    fused = candidates()
    found = route_features(RETRIEVERS, queries(), fused.codes, fused)
    assert tuple(found) == route_feature_names(("a", "b"))
    expected = {
        "route.a.rank": [-np.log(2), 0.0, -np.log(3), 0.0],
        "route.a.score": [0.0, 2 / SIGMA, -2 / SIGMA, 0.0],
        "route.b.rank": [0.0, -np.log(3), 0.0, 0.0],
        "route.b.score": [0.0, -1.0, 0.0, 0.0],  # both known scores are equal; item 4 is one below the lowest
        "route.fusion.rank": [0.0, -np.log(2), -np.log(3), 0.0],
        "route.fusion.score": [1 / np.sqrt(2 / 3), 0.0, -1 / np.sqrt(2 / 3), 0.0],
    }
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], [values], atol=1e-6, err_msg=name)


def test_other_items_are_described_on_the_scale_of_the_fused_list():
    found = route_features(RETRIEVERS, queries(), np.array([[1, 3, 2, -1]], dtype=np.int32), candidates())
    np.testing.assert_allclose(found["route.a.rank"], [[0, -np.log(4), -np.log(2), 0]], atol=1e-6)
    np.testing.assert_allclose(found["route.a.score"], [[2 / SIGMA, -2 / SIGMA - 1, 0.0, 0.0]], atol=1e-6)
    low = -1 / np.sqrt(2 / 3) - 1
    np.testing.assert_allclose(found["route.fusion.score"], [[low, low, 1 / np.sqrt(2 / 3), 0.0]], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.permutations([2, 4, 0, -1]), st.lists(st.integers(-1, 4), max_size=4))
def test_an_item_is_described_the_same_wherever_it_stands_and_whatever_stands_beside_it(order, beside):
    fused = candidates()
    alone = route_features(RETRIEVERS, queries(), fused.codes, fused)
    mixed = route_features(RETRIEVERS, queries(), np.array([[*order, *beside]], dtype=np.int32), fused)
    columns = [fused.codes[0].tolist().index(code) for code in order]
    for name, values in alone.items():
        np.testing.assert_allclose(mixed[name][:, :4], values[:, columns], rtol=1e-5, atol=1e-5)


def test_no_candidates_at_all_gives_zeros():
    empty = Candidates(
        codes=np.full((1, 2), -1, dtype=np.int32),
        scores=np.full((1, 2), -np.inf, dtype=np.float32),
        routes=("a", "b"),
        ranks=np.full((2, 1, 2), -1, dtype=np.int32),
        route_scores=np.full((2, 1, 2), -np.inf, dtype=np.float32),
    )
    for codes in (empty.codes, np.array([[1, 2, 3]], dtype=np.int32)):
        for values in route_features(RETRIEVERS, queries(), codes, empty).values():
            assert values.tolist() == [[0.0] * codes.shape[1]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=20), st.floats(-100, 100), st.floats(0.5, 8))
def test_normalised_scores_do_not_depend_on_shift_and_scale(values, shift, scale):
    scores = np.array([values], dtype=np.float32)
    padding = np.zeros(scores.shape, dtype=bool)
    plain = normalise(scores, scores, padding)
    assert np.isfinite(plain).all()
    assert np.abs(plain).max() <= 10
    if scores.std() > 1:
        moved = (scores.astype(np.float64) * scale + shift).astype(np.float32)
        np.testing.assert_allclose(normalise(moved, moved, padding), plain, atol=2e-3)
        np.testing.assert_allclose(plain.mean(), 0.0, atol=1e-4)
        np.testing.assert_allclose(plain.std(), 1.0, atol=1e-4)


def test_items_far_outside_are_clipped():
    reference = np.array([[0.0, 1e-3]], dtype=np.float32)
    far = normalise(np.array([[1e6, -1e6]], dtype=np.float32), reference, np.zeros((1, 2), dtype=bool))
    assert far.tolist() == [[10.0, -10.0]]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30, 3e8])
def test_equal_scores_give_zero(value):
    same = np.full((1, 7), value, dtype=np.float32)
    assert not normalise(same, same, np.zeros((1, 7), dtype=bool)).any()


def test_fields_are_numeric_inputs_of_the_route_side():
    fields = route_fields(["a"])
    assert [field.name for field in fields] == [
        "route.a.rank",
        "route.a.score",
        "route.fusion.rank",
        "route.fusion.score",
    ]
    assert {(field.side, field.is_index, field.width) for field in fields} == {("route", False, 1)}
