"""Lists in cells of text, in every form that tools write them."""

import json

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from recsys.data.columns import Role, parse
from recsys.data.list_text import LIST_FORM, parse_list, split_cells

TEXTS = st.lists(st.text(alphabet="aé, '\"[]|x\\", min_size=1).filter(lambda t: t.strip() == t), max_size=5)


@given(members=TEXTS)
def test_json_and_python_give_back_what_they_wrote(members):
    assert parse_list(json.dumps(members)) == members
    assert parse_list(json.dumps(members, ensure_ascii=False)) == members
    assert parse_list(repr(members)) == members


@pytest.mark.parametrize(
    ("cell", "members"),
    [
        ("['a' 'b']", ["a", "b"]),
        ("[a, b]", ["a", "b"]),
        ("('a', 'b')", ["a", "b"]),
        ("[1, 2.5, true, null]", ["1", "2.5", "true"]),
        ("[1, 2.5, True, None]", ["1", "2.5", "true"]),
        ("alone", ["alone"]),
        ("[]", []),
        ("  ", []),
        ("[" * 10_000 + "]" * 10_000, None),
        ("__import__('os')", ["__import__('os')"]),
        ("[__import__('os').getcwd()]", ["os"]),
    ],
)
def test_other_forms(cell, members):
    found = parse_list(cell)
    assert found == members if members is not None else isinstance(found, list)


def test_columns_of_cells():
    cells = pa.array(['["a", "b"]', None, "['c']", '["a", "b"]'], pa.large_string())
    assert split_cells(cells, LIST_FORM).to_pylist() == [["a", "b"], None, ["c"], ["a", "b"]]
    role = Role("tags", "tags", "multi_categorical", separator=LIST_FORM)
    assert parse(cells, role).values.to_pylist() == [["a", "b"], None, ["c"], ["a", "b"]]
