import numpy as np
import pytest

from recsys.errors import ArtifactError
from recsys.features.assemble import HISTORY_MASK, Assembler
from recsys.features.batch import Field, InputSpec, QueryBatch

ITEMS = {
    "item.item_id": np.array([2, 3, 4]),
    "item.genres": np.array([[2, 0], [3, 2], [4, 0]]),
    "item.year": np.array([0.5, -1.0, 2.0], np.float32),
}
SPEC = InputSpec(
    (
        Field("user.age", 0, 1, ""),
        Field("history.item_id", 5, 1, "item.item_id"),
        Field("history.genres", 5, 2, "item.genres"),
        HISTORY_MASK,
        Field("item.item_id", 5, 1, "item.item_id"),
        Field("item.year", 0, 1, ""),
        Field("route.popular.score", 0, 1, ""),
    ),
    history_length=2,
)
QUERIES = QueryBatch(
    np.array([[0, 1, 2], [1, -1, -1], [-1, -1, -1]], np.int32),
    np.array([3, 1, 0], np.int32),
    {"user.age": np.array([1.0, 2.0, 3.0], np.float32), "context.unused": np.zeros(3)},
)
CODES = np.array([[2, -1], [0, 1], [1, 0]], np.int32)
ROUTES = {"route.popular.score": np.ones((3, 2), np.float32), "route.unused.score": np.zeros((3, 2), np.float32)}


def test_inputs_are_exactly_the_fields_in_order():
    assert list(Assembler(ITEMS, SPEC).inputs(QUERIES, CODES, ROUTES)) == [field.name for field in SPEC.fields]


def test_history_is_recent_oldest_first_and_masked():
    inputs = Assembler(ITEMS, SPEC).inputs(QUERIES, CODES, ROUTES)
    assert inputs["history.item_id"].tolist() == [[3, 4], [3, 0], [0, 0]]
    assert inputs["history.genres"].tolist() == [[[3, 2], [4, 0]], [[3, 2], [0, 0]], [[0, 0], [0, 0]]]
    assert inputs["history.mask"].tolist() == [[1, 1], [1, 0], [0, 0]]
    assert inputs["history.mask"].dtype == np.float32


def test_padded_candidates_are_zero():
    inputs = Assembler(ITEMS, SPEC).inputs(QUERIES, CODES, ROUTES)
    assert inputs["item.item_id"].tolist() == [[4, 0], [2, 3], [3, 2]]
    assert inputs["item.year"].tolist() == [[2, 0], [0.5, -1], [-1, 0.5]]


def test_query_inputs_are_those_of_the_whole():
    assembler = Assembler(ITEMS, SPEC)
    whole = assembler.inputs(QUERIES, CODES, ROUTES)
    for name, values in assembler.query_inputs(QUERIES).items():
        assert (values == whole[name]).all()


def test_item_inputs_take_codes_of_any_shape():
    assembler = Assembler(ITEMS, SPEC)
    assert assembler.item_inputs(np.arange(3))["item.item_id"].tolist() == [2, 3, 4]


def test_an_unknown_item_column_is_refused():
    spec = InputSpec((Field("item.director", 3, 1, "item.director"),), 5)
    with pytest.raises(ArtifactError, match=r"item\.director: no column item\.director among item\.item_id"):
        Assembler(ITEMS, spec)
