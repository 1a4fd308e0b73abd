"""Tables made of the columns of a log: the most frequent value, and no column that changes over time."""

import csv
import re
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from pydantic import ValidationError

from recsys.data.attributes import attribute_table, codes_of, contradictions
from recsys.data.config import DataConfig
from recsys.data.ingest import ingest
from recsys.errors import DataError
from recsys.settings import dump_settings
from recsys.yaml_text import parse

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "z", None])), min_size=1, max_size=30)


@given(rows=ROWS)
def test_an_id_has_its_most_frequent_value_the_earliest_of_equals(rows):
    log = pa.table({"item": [one for one, _ in rows], "value": pa.array([two for _, two in rows], pa.string())})
    table, shares = attribute_table(log, "item", [("value", "value")])
    wanted, wrong, of = {}, 0, 0
    for item in dict.fromkeys(one for one, _ in rows):
        # `Counter` keeps the order of first appearance among equals.
        known = Counter(value for one, value in rows if one == item and value is not None)
        ((value, most),) = known.most_common(1) or [(None, 0)]
        wanted[item] = value
        wrong += known.total() - most
        of += known.total() if known.total() > 1 else 0
    assert list(zip(table["item"].to_pylist(), table["value"].to_pylist(), strict=True)) == list(wanted.items())
    assert shares["value"] == pytest.approx(wrong / of if of else 0)
    codes = codes_of(log["item"].combine_chunks()), codes_of(log["value"].combine_chunks())
    assert contradictions(*codes) == (wrong, of)


def test_lists_are_values_too():
    log = pa.table({"i": [1, 1, 1], "tags": [["a"], ["a", "b"], ["a", "b"]]})
    assert attribute_table(log, "i", [("tags", "t")])[0].to_pylist() == [{"i": 1, "t": ["a", "b"]}]


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["user", "item", "at", "price", "title", "age"], *rows])


def config(path, *, items=None, users=None, **log):
    return DataConfig.model_validate(
        {
            "interactions": {"path": str(path), "user_id": "user", "item_id": "item", "timestamp": "at", **log},
            "items": {"from": "interactions", **(items or {})},
            "users": {"from": "interactions", "columns": {"age": "numeric"}, **(users or {})},
        }
    )


def events(prices=None):
    rng = np.random.default_rng(0)
    for n in range(200):
        user, item = int(rng.integers(10)), int(rng.integers(12))
        yield user, item, 1_700_000_000 + n, (prices or (lambda i, _: i))(item, n), f"T{item}", 20 + user


def test_users_and_items_of_a_log(tmp_path):
    write(tmp_path / "log.csv", events())
    data = config(tmp_path / "log.csv", items={"columns": {"price": "numeric"}, "title": "title"})
    report = ingest(data, tmp_path)
    items = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert sorted(items, key=lambda row: int(row["item_id"])) == [
        {"item_id": f"{n}", "price": float(n), "title": f"T{n}"} for n in range(12)
    ]
    assert {(row["user_id"], row["age"]) for row in pq.read_table(tmp_path / "users.parquet").to_pylist()} == {
        (f"{n}", 20.0 + n) for n in range(10)
    }
    assert pq.read_schema(tmp_path / "interactions.parquet").names == ["user_id", "item_id", "timestamp", "row"]
    assert (report.tables["items"].kept, report.tables["interactions"].kept) == (12, 200)


def test_a_column_that_changes_over_time_is_no_attribute(tmp_path):
    write(tmp_path / "log.csv", events(lambda item, n: item + n // 100))
    data = config(tmp_path / "log.csv", items={"columns": {"price": "numeric"}})
    message = r"log.csv: column price: found \d\d.\d% of the rows with another value than the most frequent of their"
    with pytest.raises(DataError, match=message):
        ingest(data, tmp_path)
    ingest(config(tmp_path / "log.csv", items={"columns": {"price": "numeric"}, "max_varying_share": 1}), tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"items": {"path": "i.csv"}}, "found both path and from; expected path: a file, or from: interactions"),
        ({"items": {"delimiter": ";"}}, "found from: interactions and delimiter; the columns are read as the log is"),
        ({"items": {"columns": {"price": "numeric"}}, "labels": ["price"]}, "column price is in interactions.labels"),
        ({"users": {"columns": {"device": "categorical"}}, "context": {"device": "categorical"}}, "one place"),
        ({"timestamp": None, "timestamp_offset": {"column": "ms"}}, "timestamp_offset: found no timestamp"),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(ValidationError, match=re.escape(words)):
        config("log.csv", **changes)
    with pytest.raises(ValidationError, match="neither path nor from"):
        DataConfig.model_validate({"interactions": {"path": "x"}, "items": {"columns": {}}})


def test_the_key_from_is_written_as_it_is_read():
    data = config("log.csv")
    assert DataConfig.model_validate(parse(dump_settings(data), "x").value) == data


@pytest.mark.parametrize(
    ("unit", "cells", "seconds"),
    [
        ("ms", ["90000", "0.5", "x"], [90.0, 0.0005, None]),
        ("s", ["90", "-5", ""], [90.0, -5.0, None]),
        ("clock", ["14:05", "7:00:09.25", "25:00"], [50_700.0, 25_209.25, None]),
    ],
)
def test_a_time_in_two_columns(tmp_path, unit, cells, seconds):
    rows = "".join(f"u,i{n},2024-05-01,{cell}\n" for n, cell in enumerate(cells))
    (tmp_path / "log.csv").write_text("user,item,day,rest\n" + rows)
    data = DataConfig.model_validate(
        {
            "interactions": {
                "path": str(tmp_path / "log.csv"),
                "user_id": "user",
                "item_id": "item",
                "timestamp": "day",
                "timestamp_offset": {"column": "rest", "unit": unit},
            },
            "max_reject_share": 0.5,
        }
    )
    assert ingest(data, tmp_path).tables["interactions"].rejected == 1
    table = pq.read_table(tmp_path / "interactions.parquet")
    midnight = np.datetime64("2024-05-01T00:00:00", "us")
    found = dict(zip(table["item_id"].to_pylist(), table["timestamp"].to_numpy(), strict=True))
    for number, second in enumerate(seconds):
        if second is not None:
            assert found[f"i{number}"] - midnight == np.timedelta64(round(second * 1e6), "us")
    assert table["timestamp"].to_pylist() == sorted(table["timestamp"].to_pylist()), "in the order of the whole time"
