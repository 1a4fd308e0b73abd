"""The file that is written: it loads whatever the tables, says what it did, and replaces nothing unasked."""

import csv
import json
import stat

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from recsys.cli import run_command
from recsys.config import Config
from recsys.errors import ConfigError, InputError
from recsys.init.create import create
from recsys.init.document import flow
from recsys.settings import load_settings
from recsys.yaml_text import parse

START = 1_700_000_000


def write(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def events(users=30, items=20, steps=10):
    rng = np.random.default_rng(0)
    return [(u, f"i{rng.integers(items)}", START + 3600 * s + u) for u in range(users) for s in range(steps)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a plain log, and the current directory in it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "log.csv", ["user_id", "item_id", "timestamp"], events())
    return tmp_path


def config(path="recsys.yaml"):
    return load_settings(Config, path, environ={})


def refused(*words, **options):
    with pytest.raises(InputError) as caught:
        create(options.pop("interactions", "log.csv"), **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("yyyymmdd", [20231101 + day for day in range(30)]),
        ("yyyymmddhhmmss", [20231101120000 + 1_000_000 * day for day in range(30)]),
        ("excel", [45231.25 + day for day in range(30)]),
        ("ms", [(START + 86_400 * day) * 1000 for day in range(30)]),
    ],
)
def test_dates_written_as_numbers_are_no_seconds(folder, unit, times):
    rows = events()
    columns = {"user_id": [row[0] for row in rows], "item_id": [row[1] for row in rows]}
    pq.write_table(pa.table({**columns, "timestamp": [times[n % 30] for n in range(len(rows))]}), "log.parquet")
    create("log.parquet")
    log = config().data.interactions
    assert (log.timestamp, log.timestamp_unit) == ("timestamp", unit)


def test_the_file_says_how_it_was_made_and_how_to_run_it(folder):
    made = create("log.csv", out=folder / "my shop.yaml")
    lines = (folder / "my shop.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# Run me: recsys run '{folder}/my shop.yaml'"
    assert "recsys init --interactions log.csv --out" in lines[2]
    assert made.run == lines[0].removeprefix("# Run me: ")
    assert stat.S_IMODE((folder / "my shop.yaml").stat().st_mode) == 0o644


def test_what_is_there_is_replaced_only_when_told_to(folder):
    (folder / "recsys.yaml").write_text("mine")
    refused("recsys.yaml: is there already; expected a new file; --force replaces it")
    assert (folder / "recsys.yaml").read_text() == "mine"
    create("log.csv", force=True)
    assert config().name == "log"


def test_nothing_is_left_behind_when_it_cannot_be_written(folder, monkeypatch):
    monkeypatch.setattr("recsys.init.create.write_document", lambda **_: "name: [")
    with pytest.raises(InputError):
        create("log.csv")
    assert sorted(path.name for path in folder.iterdir()) == ["log.csv"]


def test_a_folder_that_cannot_be_written_to(folder):
    refused("log.csv/x.yaml: cannot be written", out=folder / "log.csv" / "x.yaml")


def test_columns_may_be_told(folder):
    write(folder / "odd.csv", ["a", "b", "c"], [(u, i, t) for u, i, t in events()])
    create("odd.csv", given={"user_id": "b", "item_id": "a", "timestamp": "c"})
    log = config().data.interactions
    assert (log.user_id, log.item_id, log.timestamp) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"user_id": "user"}, "log.csv: --user-id: found 'user', expected a column; did you mean user_id?"),
        ({"user_id": "item_id", "item_id": "item_id"}, "--user-id: found item_id for two parts"),
        (
            {"timestamp": "item_id", "item_id": "timestamp"},
            "column item_id: found 0% of the rows readable as timestamp",
        ),
    ],
)
def test_columns_told_wrongly(folder, told, words):
    refused(words, given=told)


def test_a_log_without_user_or_item(folder):
    write(folder / "odd.csv", ["price", "share"], [(n * 0.37, n / 7) for n in range(50)])
    refused(
        "odd.csv: found no column that looks like the user or the item of an event among price (number), share (numb",
        "name them: --user-id COLUMN --item-id COLUMN",
        interactions="odd.csv",
    )


def test_a_table_of_somebody_else(folder):
    write(folder / "users.csv", ["user_id", "age"], [(f"x{n}", n) for n in range(30)])
    refused("users.csv: found no column with the ids of the log's user_id among user_id, age", users="users.csv")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(u, "i", START + u) for u in range(40)], "log.csv: found one item, expected at least two"),
        ([(1, 2, 3), (1, 3, 4), (2, 2, 5)], "too few to hold any back for a test"),
    ],
)
def test_logs_that_cannot_feed_anything(folder, rows, words):
    write(folder / "log.csv", ["user_id", "item_id", "timestamp"], rows)
    refused(words)


def test_bad_rows_raise_the_limit(folder):
    rows = [(u if n % 10 else "", i, t) for n, (u, i, t) in enumerate(events())]
    write(folder / "log.csv", ["user_id", "item_id", "timestamp"], rows)
    create("log.csv")
    assert 0.1 < config().data.max_reject_share < 0.2
    assert "# guessed: more than the default 1 %" in (folder / "recsys.yaml").read_text()


def test_ids_that_stand_twice_in_a_table_raise_the_limit(folder):
    write(folder / "users.csv", ["user_id", "town"], [(n % 25, "ab"[n % 2]) for n in range(30)])
    create("log.csv", users="users.csv")
    assert 1 / 6 < config().data.max_reject_share < 0.25


def test_things_bought_again_may_be_recommended_again(folder):
    create("log.csv")
    assert config().policy.exclude_seen == "always"
    write(folder / "log.csv", ["user_id", "item_id", "timestamp"], events(items=3))
    create("log.csv", force=True)
    assert config().policy.exclude_seen == "never"
    assert config().evaluation.ks == (3,)


def test_features_by_kind_and_number_of_values(folder):
    rng = np.random.default_rng(0)
    header = ["item_id", "title", "price", "weight", "tags", "brand", "made"]
    rows = [
        (
            f"i{n}",
            f"t{n}",
            round(float(rng.lognormal(3, 2)), 3),
            round(float(rng.normal(9, 1)), 3),
            "a|b",
            f"b{n % 7}",
            "2024-01-02",
        )
        for n in range(120)
    ]
    rows[0] = (*rows[0][:4], "c", *rows[0][5:6], "2023-02-01")
    write(folder / "items.csv", header, rows)
    create("log.csv", items="items.csv")
    item = {name: transform.kind for name, transform in config().features.item.items()}
    assert item == {
        "item_id": "categorical",
        "price": "quantile",
        "weight": "standard",
        "tags": "multi_categorical",
        "brand": "categorical",
        "made": "time",
    }
    assert config().data.items.title == "title"


def test_what_is_printed(folder, capsys):
    assert run_command(["init", "--interactions", "log.csv"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "interactions user_id user_id number 30",
        "objective: implicit",
        "split: ",
        "next: recsys run recsys.yaml",
    ):
        assert words in out
    assert run_command(["init", "--interactions", "log.csv"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert run_command(["init", "--interactions", "log.csv", "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == "recsys.yaml"
    assert told["objective"] == {"kind": "implicit", "label": None, "at_least": None, "positive_share": 1.0}
    assert [row["role"] for row in told["columns"]] == ["user_id", "item_id", "timestamp"]


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none(),
        st.lists,
    )
)
def test_every_value_is_read_back(value):
    assert parse(f"key: {flow(value)}", "test").value == {"key": value}


NAMES = st.sampled_from(
    ["user_id", "item_id", "ts", "click", "rating", "amount", "device", "a: #b", "é 🙂", "x\ny", "row", "position"]
)
VALUES = {
    "id": st.integers(0, 4).map(str),
    "number": st.floats(allow_nan=False, allow_infinity=False, width=32) | st.none(),
    "click": st.integers(0, 1),
    "time": st.integers(START, START + 10**6),
    "text": st.text(max_size=4),
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_table_is_refused_or_gives_a_file_that_loads(data, tmp_path):
    rows = data.draw(st.integers(1, 40))
    kinds = data.draw(st.dictionaries(NAMES, st.sampled_from(list(VALUES)), max_size=6))
    table = {"user_id": [str(n % 5) for n in range(rows)], "item_id": [str(n * n % 7) for n in range(rows)]}
    table |= {name: data.draw(st.lists(VALUES[kind], min_size=rows, max_size=rows)) for name, kind in kinds.items()}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    out = tmp_path / "out.yaml"
    out.unlink(missing_ok=True)
    try:
        create(str(tmp_path / "log.parquet"), out=out)
    except ConfigError:
        raise  # what is written must load
    except InputError:
        pass
    else:
        assert config(out).data.interactions.path.endswith("log.parquet")
    assert sorted(path.suffix for path in tmp_path.iterdir()) in ([".parquet"], [".parquet", ".yaml"])
