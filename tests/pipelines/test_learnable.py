"""Logs that teach nothing are refused before anything is trained, by the settings that their configuration has."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.graph import Observer
from pipelines.inputs import Log
from pipelines.learnable import refusals, warnings
from pipelines.run import run_pipeline
from pipelines.split import run as run_split
from pipelines.stage import StageContext
from recsys.config import Config
from recsys.data.split import assign_windows
from recsys.data.tables import Dataset
from recsys.errors import DataError
from recsys.features.catalogue import Catalogue
from recsys.features.history import Events

START = 1_700_000_000
ONE_EACH = [(f"u{n}", f"i{n % 7}", START + n * 60) for n in range(200)]
THREE_EACH = [(f"u{user}", f"i{(user + n) % 9}", START + n * 60) for user in range(30) for n in range(3)]
ONE_USER = [("u0", f"i{n}", START + n * 60) for n in range(40)]
ONE_ITEM = [(f"u{n % 10}", "i0", START + n * 60) for n in range(100)]
TWO_ITEMS = [(f"u{n % 10}", f"i{n % 3 % 2}", START + n * 60) for n in range(100)]
SAME_TIME = [(f"u{n % 10}", f"i{n % 11}", START) for n in range(110)]
PAIRS = ("itemcf", "usercf", "swing", "ease", "graph_filter", "als", "bpr", "item2vec", "deepwalk", "node2vec")


def config(routes=("popular",), split=None, **changes):
    return Config.model_validate(
        {
            "name": "x",
            "workspace": "workspace",
            "tracking": {"kind": "none"},
            "data": {"interactions": {"path": "events.csv"}},
            "split": {"kind": "random", **(split or {})},
            "routes": routes if isinstance(routes, dict) else {name: {"kind": name} for name in routes},
            "evaluation": {"bootstrap": 20},
            **changes,
        }
    )


def log_of(rows, settings):
    """The log as the split stage codes it."""
    users, items = (sorted({row[column] for row in rows}) for column in (0, 1))
    user = np.array([users.index(row[0]) for row in rows], np.int32)
    item = np.array([items.index(row[1]) for row in rows], np.int32)
    time = np.array([row[2] for row in rows], np.int64) * 1_000_000
    windows = assign_windows(user, time, settings.split, np.random.default_rng(0))
    catalogues = (Catalogue(pa.array(ids, pa.large_string())) for ids in (users, items))
    return Log(*catalogues, Events(user, item, time, np.ones(len(rows), bool), windows))


def planned(settings, *stages):
    return frozenset({*(f"recall.{name}" for name in settings.routes), *stages})


def found(rows, settings, *stages):
    return list(refusals(settings, log_of(rows, settings), planned(settings, *stages)))


@pytest.mark.parametrize("kind", PAIRS)
def test_a_route_that_learns_from_pairs_is_refused_where_no_user_has_two_items(kind):
    for rows in (ONE_EACH, ONE_ITEM):
        (text,) = found(rows, config([kind]))
        assert text.startswith(
            f"routes.{kind}.kind: found {kind}, which learns from users with two different items, but"
        )
        assert "in the whole log, no user has more than one" in text
        assert text.endswith("use routes that do without: popular, or bm25 or tfidf where items have texts")
    assert found(ONE_USER, config([kind])) == found(TWO_ITEMS, config([kind])) == []


def test_a_split_that_takes_the_pairs_is_named():
    (text,) = found(THREE_EACH, config(["itemcf"], {"kind": "leave_last_out"}))
    assert "in the recall window of the split, no user has more than one (30 users have events)" in text


def test_one_route_of_several_that_learns_nothing_is_a_warning():
    settings = config(["popular", "als"])
    assert found(ONE_EACH, settings, "evaluate") == []
    said = warnings(settings, log_of(ONE_EACH, settings), planned(settings, "evaluate"))
    assert [text.split(" ")[0] for text in said] == ["routes.als.kind:", "routes:"]
    assert "als answer from a user's history, but none of the" in said[1]
    assert warnings(settings, log_of(TWO_ITEMS, settings), planned(settings)) == []


def test_a_route_that_cannot_be_fitted_is_refused_whatever_the_others_are():
    assert [text.split(":")[0] for text in found(ONE_EACH, config(["popular", "als", "deepwalk"]))] == [
        "routes.deepwalk.kind"
    ]


@pytest.mark.parametrize("kind", ["dssm", "youtube_dnn", "simplex", "fm", "sasrec", "gru4rec"])
def test_a_tower_names_its_default(kind):
    least = 3 if kind == "dssm" else 1
    (text,) = found(ONE_EACH, config([kind], {"kind": "global_time"}))
    assert text.startswith(
        f"routes.{kind}.min_history: found {least}, the default of {kind}, but no user has more than 1"
    )
    (text,) = found(ONE_EACH, config(routes={"own": {"kind": kind, "min_history": 2}}, split={"kind": "global_time"}))
    assert text.startswith("routes.own.min_history: found 2, but no user has more than 1 events")
    assert found(ONE_USER, config([kind], {"kind": "global_time"})) == []


def test_items_that_are_all_too_rare_are_refused_by_min_count():
    (text,) = found(ONE_USER, config(routes={"own": {"kind": "item2vec", "training": {"min_count": 5}}}))
    assert text == (
        "routes.own.training.min_count: found 5, but no item has more than 1 events in the recall window; lower it"
    )


def test_only_planned_stages_are_asked():
    settings = config(["popular", "deepwalk"])
    assert list(refusals(settings, log_of(ONE_EACH, settings), frozenset({"recall.popular"}))) == []


def test_a_ranker_without_requests_is_refused():
    settings = config(split={"kind": "leave_last_out"}, ranking={"model": {"kind": "lr"}})
    (text,) = found(THREE_EACH, settings, "ranking", "evaluate")
    assert text.startswith("ranking: found 0 events in the rank window of split.kind: leave_last_out, none of them")
    assert found(ONE_USER, settings, "ranking", "evaluate") == []


def test_a_test_window_of_what_was_seen_is_refused():
    assert found(ONE_ITEM, config(), "evaluate")[0].startswith("evaluate: every positive of the test window was seen")
    assert found(ONE_ITEM, config(policy={"exclude_seen": "never"}), "evaluate") == []


SPLITS = [
    (
        ONE_EACH,
        {"kind": "leave_last_out"},
        "split.kind: found leave_last_out, which leaves no event for the test window: it takes events of users with at "
        "least 3, and no user has more than 1; use a split of kind global_time or random",
    ),
    (
        ONE_EACH,
        {"kind": "per_user"},
        "split.test: 0.1, the default of a user's events is less than one, and no user has more than 1; raise it",
    ),
    (
        THREE_EACH,
        {"kind": "per_user", "test": 0.2},
        "split.test: 0.2 of a user's events is less than one, and no user has more than 3; raise it",
    ),
    (ONE_USER[:5], {"kind": "global_time"}, "split.test: 0.1, the default of 5 events is less than one"),
    (
        SAME_TIME,
        {"kind": "global_time"},
        "split.kind: found global_time, but all 110 events have the same data.interactions.timestamp",
    ),
]


@pytest.mark.parametrize(("rows", "split", "message"), SPLITS)
def test_a_split_that_leaves_nothing_to_report_says_which_setting_decides_it(rows, split, message, tmp_path):
    text = pa.large_string()
    rows = sorted(rows, key=lambda row: row[2])
    table = pa.table(
        {
            "user_id": pa.array([row[0] for row in rows], text),
            "item_id": pa.array([row[1] for row in rows], text),
            "timestamp": pa.array([row[2] * 1_000_000 for row in rows], pa.timestamp("us", tz="UTC")),
            "row": pa.array(np.arange(len(rows))),
        }
    )
    users, items = (pa.table({name: table[name].unique()}) for name in ("user_id", "item_id"))
    Dataset(table, users, items).save(tmp_path / "ingest")
    (tmp_path / "out").mkdir()
    context = StageContext({"ingest": tmp_path / "ingest"}, tmp_path / "out", tmp_path)
    with pytest.raises(DataError) as caught:
        run_split(config(split=split), context)
    assert message in str(caught.value)


class Started(Observer):
    """The stages that began, and what was said."""

    def __init__(self):
        self.names, self.said = [], []

    def on_start(self, stage, why):
        self.names.append(stage.name)

    def on_message(self, stage, text):
        self.said.append(text)


def test_a_run_stops_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Path("events.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("user_id", "item_id", "timestamp"), *ONE_EACH])
    seen = Started()
    with pytest.raises(DataError, match=r"routes\.item2vec\.kind: found item2vec, which learns from users with two"):
        run_pipeline(config(["item2vec"]), observer=seen)
    assert seen.names == ["ingest", "split"]
    run_pipeline(config(["popular", "item2vec"]), observer=seen, until="recall.popular")
    assert (seen.names, seen.said) == (["ingest", "split", "features", "recall.popular"], [])
