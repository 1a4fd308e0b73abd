"""Decimal commas and marks between groups of digits, from the settings to the values."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.data.columns import Role, parse
from recsys.data.config import DataConfig, TableConfig
from recsys.data.ingest import ingest
from recsys.data.tables import Dataset

MARKS = [(".", None), (",", None), (",", "."), (",", " "), (",", "'"), (".", ","), (".", " "), (".", "'")]


def numbers(cells, decimal, thousands, kind="numeric"):
    role = Role("x", "x", kind, decimal=decimal, thousands=thousands)
    parsed = parse(pa.array(cells, pa.large_string()), role)
    bad = [False] * len(cells)
    for mask in parsed.bad.values():
        bad = [one or other for one, other in zip(bad, mask.tolist(), strict=True)]
    return ["bad" if broken else value for value, broken in zip(parsed.values.to_pylist(), bad, strict=True)]


@pytest.mark.parametrize(("decimal", "thousands"), MARKS)
@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.integers(-(10**12), 10**12).map(lambda value: value / 1000)))
def test_numbers_are_read_as_they_were_written(decimal, thousands, values):
    swap = str.maketrans({",": thousands or "", ".": decimal})
    assert numbers([f"{value:,.3f}".translate(swap) for value in values], decimal, thousands) == values
    assert numbers([f"{value:.3f}".replace(".", decimal) for value in values], decimal, thousands) == values


@pytest.mark.parametrize(
    ("cell", "decimal", "thousands", "value"),
    [
        ("1.5", ",", None, "bad"),
        ("1,5", ".", None, "bad"),
        ("1.5", ",", ".", "bad"),
        ("12.34", ",", ".", "bad"),
        ("1,2,3", ",", None, "bad"),
        ("1\u202f234,5", ",", " ", 1234.5),
        (" 1e3 ", ",", None, 1000.0),
        ("1,5e3", ",", None, 1500.0),
        ("NA", ",", ".", None),
        ("", ",", ".", None),
        (",", ",", ".", "bad"),
        (None, ",", ".", None),
    ],
)
def test_other_marks_than_those_of_the_column_make_no_number(cell, decimal, thousands, value):
    assert numbers([cell], decimal, thousands) == [value]


def test_dates_and_categories_are_left_as_they_are():
    assert numbers(["31.12.2024", "1.234"], ",", ".", "categorical") == ["31.12.2024", "1.234"]
    (moment,) = numbers(["31.12.2024"], ",", ".", "timestamp")
    assert (moment.year, moment.month, moment.day) == (2024, 12, 31)


def test_a_table_in_a_european_format_is_ingested(tmp_path):
    (tmp_path / "e.csv").write_bytes("user_id;item_id;price;timestamp\nJosé;5;1.234,50;1700000000\n".encode("latin-1"))
    log = {"path": str(tmp_path / "e.csv"), "delimiter": ";", "decimal": ",", "thousands": ".", "labels": ["price"]}
    report = ingest(DataConfig.model_validate({"interactions": log}), tmp_path / "out")
    (row,) = Dataset.load(tmp_path / "out").interactions.select(["user_id", "price"]).to_pylist()
    assert row == {"user_id": "José", "price": 1234.5}
    assert report.tables["interactions"].sources[0].notes == ("read as cp1252 (frequencies of its characters)",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','; expected two different marks"),
        ({"encoding": "klingon"}, "found the encoding 'klingon', expected a name that Python knows"),
        ({"header": ["a", "b", "a"]}, "header names 'a' twice; expected each name once"),
        ({"header": []}, "at least 1 item"),
        ({"delimiter": '"'}, "expected characters without line breaks and quotes"),
        ({"delimiter": ""}, "at least 1 character"),
    ],
)
def test_settings_that_contradict_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        TableConfig(path="x", **values)
