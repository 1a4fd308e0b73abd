"""Data nobody wishes for, through the whole command: the right answer, or a message that says what is wrong."""

import csv
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.bundle import BUNDLE
from pipelines.graph import select
from pipelines.stage import StageContext
from pipelines.stages import stages_for
from pipelines.store import Store
from recsys.cli import run_command
from recsys.config import Config
from recsys.errors import RecsysError
from recsys.funnel.requests import Request
from recsys.funnel.runtime import Funnel

START = 1_700_000_000
CONFIG = {
    "name": "ugly",
    "workspace": "workspace",
    "seed": 3,
    "data": {"interactions": {"path": "events.csv"}},
    "split": {"kind": "per_user", "rank": 0.15, "valid": 0.15, "test": 0.15},
    "routes": {"popular": {"kind": "popular"}, "itemcf": {"kind": "itemcf"}},
    "fusion": {"per_route": 15, "candidates": 15},
    "evaluation": {"ks": [5, 10], "bootstrap": 50},
    "tracking": {"kind": "none"},
}
NEVER = {"policy": {"exclude_seen": "never"}}
DEEPFM = {"kind": "deepfm", "embedding_dim": 4, "hidden": [8]}
ITEM_ID = {"item_id": {"kind": "categorical"}}


def circles(users=12, items=20, steps=12):
    """Events of users who walk the items in a circle, each from another start."""
    return [[f"u{u}", f"i{(u + s) % items}", START + s * 3600 + u] for u in range(users) for s in range(steps)]


def labelled(rows, label):
    """The rows with a click, given by the row's number."""
    return [[*row, label(number)] for number, row in enumerate(rows)]


@pytest.fixture
def pipeline(tmp_path, monkeypatch, capsys):
    """Runs the command on a table of events: exit code and what it complained about."""
    monkeypatch.chdir(tmp_path)

    def call(rows, header=("user_id", "item_id", "timestamp"), *, items=None, until=None, **changes):
        write("events.csv", header, rows)
        if items is not None:
            write("items.csv", *items)
        Path("ugly.yaml").write_text(json.dumps(CONFIG | changes))  # JSON is YAML
        code = run_command(["run", "ugly.yaml", *(["--until", until] if until else [])])
        return code, capsys.readouterr().err

    return call


@pytest.fixture
def recommend(capsys):
    """The items recommended to a user."""

    def call(user, k=10):
        capsys.readouterr()
        assert run_command(["recommend", "ugly.yaml", "--user", user, "-k", str(k), "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        return [item["item_id"] for item in answer["items"]]

    return call


def write(path, header, rows):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def metrics():
    where = Store(Path("workspace")).latest()["evaluate"].folder
    return json.loads((where / "metrics.json").read_text(encoding="utf-8"))


def rejected():
    where = next(Path("workspace/artifacts/ingest").glob("[!.]*/rejected.parquet"))
    return [(row["line"], row["column"], row["value"], row["reason"]) for row in pq.read_table(where).to_pylist()]


CLICKS = {
    "header": ("user_id", "item_id", "timestamp", "click"),
    "data": {
        "interactions": {"path": "events.csv", "labels": ["click"]},
        "positive": {"label": "click", "at_least": 1},
    },
}
EVENTS = {
    "features": {"item": ITEM_ID},
    "ranking": {"model": DEEPFM, "samples": {"kind": "events"}, "training": {"epochs": 1, "threads": 1}},
}


# Labels


def test_no_positives(pipeline):
    code, err = pipeline(labelled(circles(), lambda n: 0), **CLICKS)
    assert code == 2
    assert (
        "data.positive: none of the 108 events of the recall window is a positive, out of 144 events, 0 of them "
        "positives; expected some with click of at least 1; lower data.positive.at_least"
    ) in err


def test_nothing_but_positives_teach_a_click_model_nothing(pipeline):
    code, err = pipeline(labelled(circles(), lambda n: 1), **CLICKS, **EVENTS)
    assert code == 2
    assert (
        "Error: ranking: all 120 labelled items to learn from are positives; expected negatives, too: keep rows that "
        "were shown and not chosen, see that data.positive tells them apart, or use ranking.samples.kind: candidates\n"
    ) in err


def test_negative_labels_are_numbers_like_others(pipeline):
    """At least 1 is a positive, whatever lies below."""
    wild = [-1.0, 1.0, -1e38, 2.0, 1e38, -0.0, 3.0]
    assert pipeline(labelled(circles(), lambda n: wild[n % 7]), **CLICKS)[0] == 0
    table = pq.read_table(Store(Path("workspace")).latest()["ingest"].folder / "interactions.parquet")
    assert sorted(set(table["click"].to_pylist())) == sorted(float(np.float32(value)) for value in set(wild))
    positive = np.load(Store(Path("workspace")).latest()["split"].folder / "events" / "positive.npy")
    assert positive.tolist() == [click >= 1 for click in table["click"].to_pylist()]


def test_labels_no_float_holds_are_rejected(pipeline):
    wild = {3: "1e39", 5: "nan", 7: "-inf", 9: "yes"}
    rows = labelled(circles(), lambda n: wild.get(n, 1))
    data = {**CLICKS["data"], "max_reject_share": 0.1}
    assert pipeline(rows, CLICKS["header"], data=data)[0] == 0
    assert rejected() == [(n + 2, "click", value, "expected a finite number") for n, value in wild.items()]


def test_labels_that_are_true_and_false(pipeline):
    words = {"True": 1.0, "False": 0.0, " true": 1.0, "FALSE": 0.0}
    rows = labelled(circles(), lambda n: list(words)[n * 5 % 7 % 4])
    assert pipeline(rows, **CLICKS)[0] == 0
    table = pq.read_table(Store(Path("workspace")).latest()["ingest"].folder / "interactions.parquet")
    # In order of time; the file is by user.
    assert table["click"].to_pylist() == [words[row[3]] for row in sorted(rows, key=lambda row: row[2])]


@pytest.mark.parametrize("value", ["-1", "0", "1.5", "inf"])
def test_weights_that_are_no_probabilities_are_rejected(pipeline, value):
    rows = labelled(circles(), lambda n: value if n == 4 else 0.5)
    data = {"interactions": {"path": "events.csv", "propensity": "weight"}, "max_reject_share": 0.1}
    assert pipeline(rows, ("user_id", "item_id", "timestamp", "weight"), data=data, until="ingest")[0] == 0
    assert rejected() == [(6, "weight", value, "expected a probability above 0")]


# Few of them


def test_one_user(pipeline, recommend):
    """Half the circle is walked before the cut: what follows is new, and popular alone cannot know it."""
    assert pipeline(circles(1, 10, 30), **NEVER)[0] == 0
    assert 0 <= metrics()["funnel/ndcg@10"] <= 1
    assert sorted(recommend("u0")) == sorted(recommend("stranger")) == [f"i{n}" for n in range(10)]


def test_one_event(pipeline):
    code, err = pipeline(circles(1, 1, 1))
    assert code == 2
    assert "which leaves no event for the test window: " in err


def test_one_item_that_is_bought_again(pipeline, recommend):
    assert pipeline(circles(12, 1, 12), **NEVER)[0] == 0
    # The only list there is, and it is right.
    assert (metrics()["funnel/ndcg@10"], recommend("u1"), recommend("stranger")) == (1.0, ["i0"], ["i0"])


@pytest.mark.parametrize("items", [1, 3])
def test_a_catalogue_that_everybody_knows(pipeline, items):
    code, err = pipeline(circles(12, items, 12))
    assert code == 2
    assert (
        "Error: evaluate: every positive of the test window was seen before; nothing is left to find; "
        "where things are chosen again, set policy.exclude_seen: never\n"
    ) in err


def test_a_catalogue_smaller_than_k(pipeline, recommend):
    assert pipeline(circles(12, 3, 12), **NEVER)[0] == 0
    assert sorted(recommend("u1", 100)) == ["i0", "i1", "i2"]
    # Three of three found: nothing is out of reach of a list of ten.
    assert metrics()["funnel/recall@10"] == 1.0


# Much of one


def test_a_user_with_a_hundred_thousand_events(pipeline, recommend, capsys):
    """The fan knows all 2,000 items by heart, and sways what is popular, but nobody's else history."""
    fan = [["fan", f"i{n * 7 % 2000}", START - 200_000 + n] for n in range(100_000)]
    code, err = pipeline(circles() + fan)
    assert code == 0
    # One is not warned of, as is no item: the fan's are even.
    assert "column user_id: 'fan' has 100,000 of 100,144 events, more than 20 times those of the next id" in err
    assert "column item_id" not in err
    assert recommend("fan") == []
    assert run_command(["recommend", "ugly.yaml", "--user", "fan"]) == 0
    assert "no item is left: all that could be recommended is in the history (policy.exclude_seen)" in (
        capsys.readouterr().err
    )
    found = recommend("u1", 5)
    assert len(set(found)) == 5
    assert not set(found) & {f"i{1 + step}" for step in range(12)}


def test_an_item_in_every_session(pipeline, recommend):
    """It says nothing about taste: it is first for strangers, and never again for those who had it."""
    everywhere = [[f"u{u}", "all", START + s * 3600 + u + 1] for u in range(12) for s in range(8)]
    assert pipeline(circles(12, 20, 12) + everywhere)[0] == 0
    assert recommend("stranger")[0] == "all"
    assert all("all" not in recommend(f"u{u}") for u in range(12))


# Columns


@pytest.mark.parametrize("until", ["features", pytest.param(None, marks=pytest.mark.slow)])
def test_columns_that_say_nothing_or_too_much(pipeline, recommend, until):
    """Constant, null, unique to a row, numbers at the edge of what there is, 10,000 categories in a cell: a ranker
    can train on all of them."""
    columns = {
        "constant": lambda n: 5,
        "null": lambda n: "",
        "unique": lambda n: f"only {n}",
        "vast": lambda n: (n - 10) * 1.5e307,
        "tags": lambda n: "|".join(f"tag {t}" for t in range(10_000 if n == 3 else n)),
        "when": lambda n: "",
    }
    kinds = {
        "constant": "numeric",
        "null": "numeric",
        "unique": "categorical",
        "vast": "numeric",
        "tags": {"kind": "multi_categorical", "separator": "|"},
        "when": "timestamp",
    }
    rows = [[f"i{n}", *(make(n) for make in columns.values())] for n in range(20)]
    numbers = {
        f"{kind}_{name}": {"kind": kind, "column": name}
        for kind in ("standard", "min_max", "log", "quantile")
        for name in ("constant", "null", "vast")
    }
    others = {"unique": {"kind": "categorical"}, "tags": {"kind": "multi_categorical"}, "when": {"kind": "time"}}
    code, err = pipeline(
        circles(),
        items=(("item_id", *columns), rows),
        data={"interactions": {"path": "events.csv"}, "items": {"path": "items.csv", "columns": kinds}},
        features={"item": {**ITEM_ID, **numbers, **others}},
        ranking={
            "model": DEEPFM,
            "samples": {"candidate_negatives": 5},
            "training": {"epochs": 1, "batch_size": 16, "threads": 1},
        },
        **NEVER,
        until=until,
    )
    assert code == 0, err
    folder = next(Path("workspace/artifacts/features").glob("[!.]*"))
    arrays = [np.load(path) for path in (folder / "item").glob("*.npy")]
    assert all(np.isfinite(array).all() for array in arrays)
    # The first 16 of the ten thousand tags are kept, and all of them have a row.
    assert max(array.shape[1] for array in arrays if array.ndim == 2) == 16
    assert any(len(pq.read_table(path)) == 10_000 for path in (folder / "encoder").glob("*.parquet"))
    if until is None:
        assert len(recommend("u1")) == 10


MIXED = [1, "x", 2.5, "", "NaN", "1e400", "0x10", "1,5", "true", "٣"]
ITEMS = (("item_id", "a"), [[f"i{n}", value] for n, value in enumerate(MIXED)])


def mixed(kind, share=0.01):
    return {
        "interactions": {"path": "events.csv"},
        "items": {"path": "items.csv", "columns": {"a": kind}},
        "max_reject_share": share,
    }


def test_a_column_of_mixed_types_is_refused_as_numbers(pipeline):
    code, err = pipeline(circles(), items=ITEMS, data=mixed("numeric"))
    assert code == 2
    assert (
        "Error: items.csv: table items: found 4 of 10 rows rejected, expected at most 1.00% (data.max_reject_share); "
        "the first of them:\n  items.csv:3: column a: found 'x', expected a number\n"
    ) in err


def test_a_column_of_mixed_types_gives_its_numbers(pipeline):
    assert pipeline(circles(), items=ITEMS, data=mixed("numeric", 0.5), until="ingest")[0] == 0
    assert [row[2] for row in rejected()] == ["x", "0x10", "1,5", "٣"]
    kept = pq.read_table(next(Path("workspace/artifacts/ingest").glob("[!.]*/items.parquet")))
    # Infinite and NaN are no values of a feature.
    assert kept["a"].to_pylist() == [1.0, 2.5, None, None, None, 1.0]


def test_a_column_of_mixed_types_is_fine_as_categories(pipeline):
    assert pipeline(circles(), items=ITEMS, data=mixed("categorical"), until="ingest")[0] == 0
    kept = pq.read_table(next(Path("workspace/artifacts/ingest").glob("[!.]*/items.parquet")))
    assert kept["a"].to_pylist() == [None if value in ("", "NaN") else str(value) for value in MIXED]


# Ids

NASTY = [
    "🎸🎷",
    "a\x00b",
    "\x00",
    "\u202egnp",
    "x" * 5000,
    "a\nb",
    '"q", r',
    "-1",
    "Nan Goldin",
    "nullable",
    "i\u0301",
    "í",
    "../..",
    "\x1b[2J",
]


def test_ids_with_anything_in_them_stay_apart_and_come_back(pipeline, recommend):
    """Each nasty user walks on in a circle of nasty items: what comes next is known, letter by letter."""
    count = len(NASTY)
    rows = [[NASTY[u], NASTY[(u + s) % count], START + s * 3600 + u] for u in range(count) for s in range(10)]
    assert pipeline(rows)[0] == 0
    assert rejected() == []
    for number, user in enumerate(NASTY):
        unseen = {NASTY[(number + s) % count] for s in range(10, count)}
        assert set(recommend(user)) == unseen


# Times


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (32_503_680_000, None),  # the year 3000
        (-62_135_596_800, None),  # the year 1
        (-62_135_596_801, "expected seconds since 1970, the unit of this column"),
        (253_402_300_800, "expected seconds since 1970, the unit of this column"),  # the year 10000
        ("9e30", "expected seconds since 1970, the unit of this column"),
    ],
)
def test_times_far_from_now(pipeline, time, reason):
    """An event of the year 3000 is that user's last; what no calendar holds is rejected, not wrapped around."""
    rows = circles()
    rows[5][2] = time
    data = {"interactions": {"path": "events.csv", "timestamp_unit": "s"}, "max_reject_share": 0.1}
    assert pipeline(rows, data=data, until="split")[0] == 0
    assert rejected() == ([] if reason is None else [(7, "timestamp", str(time), reason)])
    table = pq.read_table(next(Path("workspace/artifacts/ingest").glob("[!.]*/interactions.parquet")))
    seconds = [int(moment) // 10**6 for moment in table["timestamp"].cast("int64").to_numpy()]
    assert seconds == sorted(row[2] for row in rows if reason is None or row is not rows[5])


def test_a_run_with_events_of_the_future(pipeline, recommend):
    rows = circles()
    for row in rows[::20]:
        row[2] = 32_503_680_000
    code, err = pipeline(rows)
    assert code == 2, "a guessed unit puts events between 1971 and 2100"
    assert "found '32503680000', expected seconds since 1970, the unit of this column" in err
    assert pipeline(rows, data={"interactions": {"path": "events.csv", "timestamp_unit": "s"}})[0] == 0
    assert metrics()["funnel/ndcg@10"] <= 1
    assert recommend("stranger")


@pytest.mark.parametrize(
    ("time", "good"),
    [("9999-12-31T23:59:59", True), ("0001-01-01T00:00:00", True), ("10000-01-01", False), ("0000-00-00", False)],
)
def test_dates_at_the_ends_of_the_calendar(pipeline, time, good):
    rows = [
        [user, item, f"2024-01-{1 + n % 28:02d}T00:00:{n // 28:02d}"] for n, (user, item, _) in enumerate(circles())
    ]
    rows[5][2] = time
    data = {"interactions": {"path": "events.csv"}, "max_reject_share": 0.1}
    assert pipeline(rows, data=data, until="split")[0] == 0
    assert rejected() == ([] if good else [(7, "timestamp", time, "expected a date and time")])


# A file that is one line

LIMITED = """\
from pathlib import Path
from recsys.cli import run_command
code = run_command(["run", "ugly.yaml", "--until", "ingest"])
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(code, int(peak.split()[1]) // 1024)
"""
LINES = {
    "cell": (b"u1,", b"x" * 10**6, b",1\n"),
    "cells": (b"u1,", b"x," * (10**6 // 2), b"\n"),
    "quote": (b'u1,"i1,1\n', b"u1,i1,1700000000\n" * (10**6 // 17), b""),
    "zeros": (b"", b"\x00" * 10**6, b"\n"),
}


def one_long_line(folder, kind, megabytes):
    before, piece, after = LINES[kind]
    with (folder / "events.csv").open("wb") as file:
        file.write(b"user_id,item_id,timestamp\n" + b"u1,i1,1700000000\n" * 9 + before)
        for _ in range(megabytes):
            file.write(piece)
        file.write(after + b"u1,i1,1700000000\n")
    (folder / "ugly.yaml").write_text(json.dumps(CONFIG))
    done = subprocess.run([sys.executable, "-c", LIMITED], cwd=folder, capture_output=True, text=True, check=True)
    code, peak = map(int, done.stdout.split())
    return code, peak, done.stderr


@pytest.mark.parametrize(
    ("kind", "megabytes"),
    [("cell", 100), *(pytest.param(kind, 1000, marks=pytest.mark.slow) for kind in LINES)],
)
def test_a_line_without_end(tmp_path, kind, megabytes):
    """Refused with its place, in less memory than it takes: most of it is the libraries'."""
    code, peak, err = one_long_line(tmp_path, kind, megabytes)
    assert code == 2
    assert (
        "Error: events.csv:11: found a row of more than 16 MB, expected shorter ones "
        "(a quote that nothing closes, or not a table?)\n"
    ) in err
    assert peak < 500


def test_a_header_without_end(pipeline, tmp_path):
    (tmp_path / "ugly.yaml").write_text(json.dumps(CONFIG))
    with (tmp_path / "events.csv").open("wb") as file:
        for _ in range(64):
            file.write(b"a" * 10**6)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run_command(["run", "ugly.yaml"]) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024


# Whatever hypothesis finds

TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", "a", "a", "b", "NaN", "-0", "1e999", "\x00", "é", "e\u0301", '"', ",", "\n", "\r", "=1+1"]
    ),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=4),
)
TIMES = st.one_of(
    st.integers(START, START + 100).map(str),
    st.sampled_from(["", "0", "-1", "1e10", "nan", "inf", "2024-02-30", "2024-02-29", "253402300800", "soon", "1.5"]),
)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, TIMES, TEXTS), min_size=1, max_size=25)
USERS = [f"u{n}" for n in range(3)]


def settings_of(folder, extra):
    data = {
        "interactions": {"path": str(folder / "events.csv"), "context": {"extra": extra}},
        "max_reject_share": 1,
    }
    features = {"context": {"extra": {"kind": "standard" if extra == "numeric" else "categorical"}}}
    return Config.model_validate(CONFIG | {"data": data, "features": features})


@given(rows=ROWS, extra=st.sampled_from(["numeric", "categorical"]), sound=st.booleans(), asked=TEXTS)
@settings(max_examples=30, deadline=None)
def test_any_table_is_served_or_refused(rows, extra, sound, asked):
    """From the file to a list: nothing but errors that are meant, and no list with an item twice."""
    if sound:  # enough for every window, so that what is ugly gets further than the split
        rows = [(user, f"i{s}", str(START + s), "1") for user in USERS for s in range(10)] + rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "events.csv", ("user_id", "item_id", "timestamp", "extra"), rows)
        inputs = {}
        try:
            for stage in select(stages_for(settings_of(folder, extra)), "bundle"):
                inputs[stage.name] = folder / stage.name
                inputs[stage.name].mkdir()
                stage.run(StageContext(inputs, inputs[stage.name], folder, stage.seed))
            funnel = Funnel.load(inputs["bundle"] / BUNDLE)
        except RecsysError:
            return
        assert rows
        known = {row[1].strip() or row[1] for row in rows} | {row[1] for row in rows}
        for request in (Request(user_id=asked), Request(history=(asked, "i1")), Request(user_id=USERS[0])):
            items = [item.item_id for item in funnel.recommend([request], 10)[0].items]
            assert len(set(items)) == len(items)
            assert set(items) <= known
