import hashlib
import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.special import expit

from recsys.cli import run_command
from recsys.config import Config
from recsys.data.ingest import ingest
from recsys.data.split import assign_windows
from recsys.data.split_config import TEST, VALID
from recsys.data.synthetic.create import simulate
from recsys.data.synthetic.oracle import Oracle, oracle_files
from recsys.data.synthetic.pipeline import pipeline_config
from recsys.data.synthetic.population import draw_items, draw_users
from recsys.data.synthetic.simulate import Nature, find_offset, open_day, simulate_block
from recsys.data.synthetic.world import World
from recsys.errors import DataError, InputError
from recsys.settings import load_settings

DAYS = 10
WORLD = World.of(200_000, users=1000, items=300, days=DAYS, seed=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate(WORLD, tmp_path_factory.mktemp("world") / "synth").folder


def tables(folder):
    """The log with the truth of its rows beside and a column `day`; users and items by id."""
    parts = []
    for day, path in enumerate(sorted((folder / "interactions").iterdir())):
        seen, true = (pq.read_table(folder / part / path.name).to_pandas() for part in ("interactions", "oracle"))
        parts.append(pd.concat([seen, true], axis=1).assign(day=day))
    users, items = (
        pq.read_table(folder / f"{kind}s.parquet").to_pandas().set_index(f"{kind}_id") for kind in ("user", "item")
    )
    return pd.concat(parts, ignore_index=True), users, items


@pytest.fixture(scope="module")
def world(folder):
    return tables(folder)


@pytest.fixture(scope="module")
def log(world):
    return world[0]


@pytest.fixture(scope="module")
def users(world):
    return world[1]


@pytest.fixture(scope="module")
def items(world):
    return world[2]


def nature_of(world):
    users, items = draw_users(world), draw_items(world)
    interest = np.zeros((world.users, world.categories), np.float32)
    return Nature(world, users, items, find_offset(world, users, items), interest)


def affinity(log, items):
    """How much more often than others a user clicks in a category, where it was examined three times or more."""
    seen = log[log["examined"]]
    category = items.loc[seen["item_id"], "category"].map(lambda names: names[0]).to_numpy()
    residual = seen["click"] - seen.groupby("item_id")["click"].transform("mean")
    groups = residual.groupby([seen["user_id"], category])
    return groups.mean()[groups.size() >= 3]


def sums(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def z_of_means(first, second):
    """How many standard errors the mean of `first` is above that of `second`."""
    spread = np.var(first) / len(first) + np.var(second) / len(second)
    return (np.mean(first) - np.mean(second)) / np.sqrt(spread)


class TestBytes:
    SMALL = World.of(60_000, users=9000, items=150, days=2, seed=3)

    def test_same_seed_same_bytes_whatever_the_threads(self, tmp_path):
        one = simulate(self.SMALL, tmp_path / "a" / "synth", threads=1).folder
        many = simulate(self.SMALL, tmp_path / "b" / "synth", threads=4).folder
        first, second = sums(one), sums(many)
        paths = {"config.yaml", "world.json"}  # hold the folder they are for, and its sum
        assert first.keys() == second.keys()
        assert {name for name in first if first[name] != second[name]} == paths

    def test_another_seed_other_bytes(self, folder, tmp_path):
        other = simulate(World.of(200_000, users=1000, items=300, days=DAYS, seed=8), tmp_path / "synth").folder
        first, second = sums(folder), sums(other)
        assert not [name for name in first if name != "config.yaml" and first[name] == second[name]]

    def test_world_json_holds_parameters_and_sums(self, folder):
        told = json.loads((folder / "world.json").read_text())
        assert told["world"] == WORLD.to_dict()
        assert told["world"]["start"] == "2026-01-01"
        assert told["files"] == {name: value for name, value in sums(folder).items() if name != "world.json"}


class TestTables:
    def test_columns(self, folder):
        schema = pq.read_schema(folder / "interactions" / "day-000.parquet")
        assert {field.name: str(field.type) for field in schema} == {
            "user_id": "string",
            "item_id": "string",
            "timestamp": "timestamp[us, tz=UTC]",
            "request_id": "int64",
            "position": "int32",
            "exposed": "bool",
            "propensity": "float",
            "click": "int8",
            "like": "int8",
            "order_value": "float",
            "device": "string",
        }

    @pytest.mark.parametrize("events", [1000, 1003, 12_345])
    @pytest.mark.parametrize("days", [1, 7])
    def test_as_many_events_as_asked(self, tmp_path, events, days):
        made = simulate(World.of(events, days=days), tmp_path / "synth")
        for part in ("interactions", "oracle"):
            files = sorted((made.folder / part).glob("day-*.parquet"))
            assert [path.name for path in files] == [f"day-{day:03d}.parquet" for day in range(days)]
            counts = [pq.read_metadata(path).num_rows for path in files]
            assert sum(counts) == events
            assert max(counts) - min(counts) <= 10
        clicks = pq.read_table(made.folder / "interactions")["click"].to_numpy().sum()
        assert made.summary() == {
            "folder": str(tmp_path / "synth"),
            "config": str(tmp_path / "synth" / "config.yaml"),
            "events": events,
            "users": max(events // 100, 20),
            "items": 100,
            "clicks": clicks,
        }

    def test_requests_are_lists(self, log):
        lists = log.groupby("request_id")
        assert lists.ngroups == 200_000 // 10
        assert (lists["position"].apply(list).map(lambda p: p == list(range(1, 11)))).all()
        assert (lists[["user_id", "timestamp", "device"]].nunique() == 1).all(axis=None)
        assert (lists["item_id"].nunique() == 10).all()
        assert log["exposed"].all()

    def test_days_are_days_and_sessions_go_forward(self, log):
        start = pd.Timestamp("2026-01-01", tz="UTC")
        assert ((log["timestamp"] - start).dt.days == log["day"]).all()
        assert (log.groupby("user_id")["timestamp"].diff().dropna() >= pd.Timedelta(0)).all()

    def test_labels_follow_clicks(self, log, items):
        clicked = log["click"] == 1
        assert (log.loc[~clicked, ["like", "order_value"]] == 0).all(axis=None)
        assert 0.1 < log.loc[clicked, "like"].mean() < 0.9
        bought = log[log["order_value"] > 0]
        prices = items.loc[bought["item_id"], "price"].to_numpy()
        np.testing.assert_allclose(bought["order_value"], prices, rtol=1e-6)
        # The dearer, the rarer it is bought.
        dear = items.loc[log.loc[clicked, "item_id"], "price"].to_numpy() > items["price"].median()
        sold = log.loc[clicked, "order_value"].to_numpy() > 0
        assert z_of_means(sold[~dear], sold[dear]) > 5

    def test_users_and_items_appear_day_by_day(self, log, users, items):
        start = pd.Timestamp("2026-01-01", tz="UTC")
        for kind, table in (("user_id", users), ("item_id", items)):
            born = ((table["appeared"] - start).dt.days).clip(lower=0)
            counts = born.value_counts()
            assert counts[0] == round(0.7 * len(table))
            assert set(counts.index) == set(range(DAYS))
            first = log.groupby(kind)["day"].min()
            assert (first >= born[first.index]).all()
            newcomers = first[first == born[first.index]]
            assert set(newcomers.unique()) == set(range(DAYS))

    def test_categories(self, items):
        assert set(items["category"].map(len)) == {1, 2}
        assert items["category"].map(lambda names: len(set(names)) == len(names)).all()
        assert items["category"].map(lambda names: names[0]).nunique() == 16
        assert items["title"].is_unique

    def test_it_can_be_ingested(self, folder, tmp_path):
        config = load_settings(Config, folder / "config.yaml", environ={})
        report = ingest(config.data, tmp_path)
        for name, rows in (("interactions", 200_000), ("users", 1000), ("items", 300)):
            assert (report.tables[name].kept, report.tables[name].rejected) == (rows, 0)


class TestTruth:
    def test_a_click_is_examined_and_relevant(self, log):
        assert ((log["examined"] & log["relevant"]) == (log["click"] == 1)).all()

    def test_click_rate_is_as_asked(self, log):
        # What clicks open up comes on top of the trial that sets the offset.
        assert 0.1 < log["click"].mean() < 0.15

    def test_positions_are_examined_by_their_propensity(self, log):
        by_position = log.groupby("position")
        expected = np.arange(1, 11) ** -0.7
        np.testing.assert_allclose(by_position["propensity"].mean(), expected, rtol=1e-5)
        n = 20_000
        z = (by_position["examined"].mean() - expected) / np.sqrt(expected * (1 - expected) / n).clip(1e-9)
        assert np.abs(z).max() < 4
        clicks = by_position["click"].mean() / expected
        relevant = by_position["relevant"].mean()
        assert (np.abs(clicks - relevant) < 5 * np.sqrt(0.25 / (n * expected))).all()

    def test_probabilities_are_calibrated(self, log):
        """In bins of the true probability, clicks weighted for examination are as frequent as it says."""
        p, seen = log["probability"].to_numpy(float), log["examined"].to_numpy()
        bins = np.digitize(p, np.quantile(p, np.linspace(0, 1, 21)[1:-1]))
        for bin_ in range(20):
            at = seen & (bins == bin_)
            z = (log["click"][at].sum() - p[at].sum()) / np.sqrt((p[at] * (1 - p[at])).sum())
            assert abs(z) < 4

    def test_the_policy_shows_what_is_popular(self, log):
        shown = log["item_id"].str[1:].astype(int).value_counts().reindex(range(300), fill_value=0).to_numpy()
        rank = draw_items(WORLD).log_rank
        popular, rest = rank >= np.log(10), rank < np.log(2)  # the first tenth, the last half
        assert shown[popular].mean() > 4 * shown[rest].mean()

    def test_first_positions_are_better(self, log):
        by_position = log.groupby("position")["probability"].mean()
        assert by_position[1] > 1.1 * by_position[10]


def clicks_of(log, users, items):
    """Examined rows, with columns of their users and items."""
    seen = log[log["examined"]]
    return seen.assign(
        **{name: users.loc[seen["user_id"], name].to_numpy() for name in ("age", "country", "segment")},
        category=items.loc[seen["item_id"], "category"].map(lambda names: names[0]).to_numpy(),
        dear=items.loc[seen["item_id"], "price"].to_numpy() >= items["price"].median(),
    )


class TestEffects:
    def test_segment_and_category_cross(self, log, users, items):
        seen = clicks_of(log, users, items)
        table = seen.groupby(["segment", "category"])["click"].mean().unstack()
        additive = table.mean(axis=1).to_numpy()[:, None] + table.mean(axis=0).to_numpy() - table.to_numpy().mean()
        counts = seen.groupby(["segment", "category"]).size().unstack().to_numpy()
        z = (table.to_numpy() - additive) / np.sqrt(0.25 / counts)
        # Without a cross, the mean square of z would be less than 1.
        assert (z**2).mean() > 4

    def test_parity_is_seen_by_three_features_together_alone(self, log, users, items):
        seen = clicks_of(log, users, items)
        old = np.where(seen["age"] >= 45, 1, -1)
        south = np.where(seen["country"].isin(["ES", "FR", "IT", "NL"]), 1, -1)
        dear = np.where(seen["dear"], 1, -1)
        odd = old * south * dear
        click = seen["click"].to_numpy()
        assert z_of_means(click[odd > 0], click[odd < 0]) > 20
        cells = pd.Series(click).groupby([old, south, dear]).mean()
        signs = np.array([*cells.index])
        # Of equally weighted cells, so that country × price does not inherit the effect of the old being fewer. Over
        # seeds 1 to 24: .136 ± .004, at least .128, and -.002 ± .005, at most .012 in size.
        assert 2 * (cells * signs.prod(axis=1)).mean() > 0.1
        assert abs(2 * (cells * signs[:, 1] * signs[:, 2]).mean()) < 0.03

    def test_old_clicks_tell_less_than_new_ones(self, tmp_path):
        """The categories a user clicked in tell less of what they click on the last day, the longer ago it was."""
        world = World.of(300_000, users=600, items=300, days=DAYS, seed=1, drift=0.15, cross=0, session=0)
        log, _, items = tables(simulate(world, tmp_path / "synth").folder)
        old, new, last = (affinity(log[log["day"].isin(days)], items) for days in ((0, 1), (7, 8), (9,)))
        correlation = {
            name: pd.concat([part, last], axis=1, join="inner").corr().iloc[0, 1]
            for name, part in (("old", old), ("new", new))
        }
        # By then tastes have turned by 0.15 · 8.5 and 0.15 · 1.5 radians: cosines of .29 and .97.
        assert 0 < 2 * correlation["old"] < correlation["new"]

    def test_without_drift_they_tell_as_much(self):
        world = World.of(10_000, drift=0)
        users = draw_users(world)
        np.testing.assert_array_equal(users.plain(world, np.arange(5), 0), users.plain(world, np.arange(5), 29))

    def test_tastes_turn_by_drift_a_day(self):
        world = World.of(10_000, users=20_000, drift=0.1)
        users = draw_users(world)
        first, later = (users.plain(world, np.arange(20_000), day)[:, 1:] for day in (0, 7))
        assert np.corrcoef(first.ravel(), later.ravel())[0, 1] == pytest.approx(np.cos(0.7), abs=0.01)

    def test_a_click_opens_up_the_next_category_for_the_next_request(self, log, items):
        """Rows of the request after one with a click in category c, against rows of other categories."""
        number = items["category"].map(lambda names: int(names[0][-2:]))
        requests = log.drop_duplicates("request_id")[["user_id", "request_id", "timestamp"]]
        requests = requests.sort_values(["user_id", "timestamp"], kind="stable")
        following = requests.groupby("user_id")["request_id"].shift(-1)
        after = dict(zip(requests["request_id"], following, strict=True))
        clicked = log[log["click"] == 1]
        opened = pd.DataFrame(
            {
                "request_id": clicked["request_id"].map(after),
                "category": (number[clicked["item_id"]].to_numpy() + 1) % 16,
                "opened": True,
            }
        ).drop_duplicates()
        rows = log[log["examined"]].assign(category=lambda seen: number[seen["item_id"]].to_numpy())
        rows = rows.merge(opened, how="left", on=["request_id", "category"])
        is_open = rows["opened"].notna().to_numpy()
        click = rows["click"].to_numpy()
        assert z_of_means(click[is_open], click[~is_open]) > 8
        assert click[is_open].mean() > click[~is_open].mean() + 0.1
        assert rows.loc[is_open, "session"].min() >= 2.0 / 4  # the strength, where both items have two categories

    def test_the_interest_fades(self):
        world = World.of(10_000, session_decay=0.5)
        nature = nature_of(world)
        nature.interest[:] = 1
        day = open_day(nature, 0)
        for block in day.blocks():
            simulate_block(nature, day, block)
        stayed = np.setdiff1d(np.arange(world.users), day.users)
        assert (nature.interest[stayed] == 1).all()
        left = nature.interest[day.users]
        faded = np.float32(0.5) ** day.rounds[:, None]
        assert (left >= faded - 1e-6).all()
        assert (np.isclose(left, faded).mean(axis=1) > 0.3).all()
        assert left.max() <= 1

    def test_strength_zero_leaves_a_part_out(self, tmp_path):
        world = World.of(20_000, days=4, session=0)
        folder = simulate(world, tmp_path / "synth").folder
        assert pq.read_table(folder / "oracle" / "day-003.parquet")["session"].to_numpy().max() == 0
        plain = draw_items(World.of(20_000, popularity=0, freshness=0)).plain(
            World.of(20_000, popularity=0, freshness=0), 3
        )
        assert (plain[:, 0] == 0).all()

    def test_new_items_are_fresh(self):
        world = World.of(100_000, popularity=0, freshness=0.5, freshness_days=3)
        items = draw_items(world)
        ages = 29 - items.born
        np.testing.assert_allclose(items.plain(world, 29)[:, 0], 0.5 * np.exp(-ages / 3), rtol=1e-5)


class TestOracle:
    def test_it_is_the_truth_of_the_last_day(self, folder, log):
        """The first request of each user on the last day has the very probabilities that the vectors give."""
        oracle = Oracle.load(folder)
        last = log[log["day"] == DAYS - 1]
        first = last[last["request_id"] == last.groupby("user_id")["request_id"].transform("first")]
        found = oracle.probabilities(pa.array(first["user_id"]), pa.array(first["item_id"]))
        np.testing.assert_allclose(found, first["probability"], atol=2e-6)

    def test_best_lists(self, folder, log):
        best = pq.read_table(folder / "oracle" / "best.parquet").to_pandas()
        assert set(best["user_id"]) == set(log.loc[log["day"] == DAYS - 1, "user_id"])
        vectors = {
            kind: pq.read_table(folder / "oracle" / f"{kind}_vectors.parquet")
            .to_pandas()
            .set_index(f"{kind}_id")["vector"]
            for kind in ("user", "item")
        }
        items = np.stack(vectors["item"].to_list()).astype(float)
        for user, rows in list(best.groupby("user_id"))[:25]:
            truth = expit(items @ vectors["user"][user].astype(float))
            assert rows["rank"].tolist() == list(range(1, 101))
            assert (np.diff(rows["probability"]) <= 0).all()
            assert rows["item_id"].is_unique
            np.testing.assert_allclose(rows["probability"], np.sort(truth)[::-1][:100], rtol=1e-4)
            own = truth[vectors["item"].index.get_indexer(rows["item_id"])]
            np.testing.assert_allclose(rows["probability"], own, rtol=1e-4)

    def test_as_many_users_and_items_as_asked(self, tmp_path):
        world = World.of(20_000, days=2, oracle_users=5, oracle_length=1000)
        best = pq.read_table(simulate(world, tmp_path / "synth").folder / "oracle" / "best.parquet").to_pandas()
        assert best.groupby("user_id").size().tolist() == [100] * 5  # there are no more items

    def test_ties_go_to_the_smaller_code(self):
        oracle = Oracle(
            pa.array(["u"]), pa.array(list("abcd")), np.ones((1, 1), "f4"), np.array([[1], [2], [1], [2]], "f4")
        )
        items, probabilities = oracle.best(np.array([0]), 4)
        assert items.tolist() == [[1, 3, 0, 2]]
        np.testing.assert_allclose(probabilities, expit([[2, 2, 1, 1]]), rtol=1e-6)

    def test_a_stranger_is_named(self, folder):
        oracle = Oracle.load(folder)
        with pytest.raises(DataError, match=r"found item 'i9999', which is not of this world; was the log simulated"):
            oracle.item_codes(pa.array(["i0001", "i9999"]))
        with pytest.raises(DataError, match=r"found user 'x'"):
            oracle.user_codes(pa.chunked_array([["u0001"], ["x"]]))

    def test_without_one(self, tmp_path):
        with pytest.raises(DataError, match=r"user_vectors.parquet: found no true preferences .* recsys data synth"):
            Oracle.load(tmp_path)
        assert [path.name for path in oracle_files(tmp_path)] == ["user_vectors.parquet", "item_vectors.parquet"]


class TestConfig:
    def test_it_loads(self, folder):
        config = load_settings(Config, folder / "config.yaml", environ={})
        assert config.name == "synth"
        assert config.data.interactions.path == (folder / "interactions").as_posix()
        assert set(config.routes) == {"popular", "itemcf", "dssm"}
        assert config.ranking.model.kind == "deepfm"
        assert config.evaluation.oracle == folder.as_posix()
        first = (folder / "config.yaml").read_text().splitlines()[0]
        assert first == f"# Run me: recsys run {(folder / 'config.yaml').as_posix()}"

    @pytest.mark.parametrize(("events", "days"), [(200_000, DAYS), (1003, 30), (99_999, 30), (1000, 4)])
    def test_the_last_day_is_the_test(self, tmp_path, events, days):
        world = World.of(events, days=days)
        folder = simulate(world, tmp_path / "synth").folder
        split = load_settings(Config, folder / "config.yaml", environ={}).split
        log = pq.read_table(folder / "interactions").to_pandas().sort_values("timestamp", kind="stable")
        time = log["timestamp"].astype("int64").to_numpy()
        windows = assign_windows(np.zeros(len(log), np.int64), time, split, np.random.default_rng(0))
        day = (log["timestamp"] - pd.Timestamp("2026-01-01", tz="UTC")).dt.days.to_numpy()
        assert ((windows == TEST) == (day == days - 1)).all()
        assert ((windows == VALID) == (day == days - 2)).all()

    def test_few_days_are_not_cut_between(self, tmp_path):
        text = pipeline_config(World.of(1000, days=2), tmp_path / "synth")
        assert yaml.safe_load(text)["split"]["kind"] == "per_user"

    @pytest.mark.parametrize(
        ("folder", "name"), [("data/My World", "my-world"), ("7", "synth-7"), ("a" * 90, "a" * 64), ("Ü", "synth")]
    )
    def test_its_name_is_that_of_the_folder(self, tmp_path, folder, name):
        path = tmp_path / "config.yaml"
        path.write_text(pipeline_config(WORLD, Path(folder)), encoding="utf-8")
        config = load_settings(Config, path, environ={})
        assert (config.name, config.workspace) == (name, f"workspace/{name}")
        assert config.data.users.path == f"{folder}/users.parquet"


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"events": 0}, "world: events: found 0, expected a number from 1 to 1,000,000,000"),
            (
                {"events": 299},
                "world: events: found 299, expected at least 300: a request of 10 items on each of 30 days",
            ),
            ({"users": 0}, "world: users: found 0, expected a number from 1 to 10,000,000"),
            ({"items": 13}, "world: items: found 13, 10 of them on the first day; expected at least 11 then"),
            ({"days": 0}, "world: days: found 0, expected a number from 1 to 3,650"),
            ({"seed": -1}, "world: seed: found -1"),
            ({"drift": float("nan")}, "world: drift: found nan, expected a number from 0 to 3.14"),
            ({"session_decay": 1.0}, "world: session_decay: found 1.0, expected a number from 0 to 0.99"),
        ],
    )
    def test_sizes_and_strengths(self, given, message):
        wanted = {"events": 10_000, **given}
        if "items" in given:
            wanted["list_length"] = 11
        with pytest.raises(InputError, match=re.escape(message)):
            World.of(**wanted)

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("drift", "--set drift: expected NAME=VALUE, such as --set drift=0.1"),
            ("drif=1", "--set drif: found 'drif', expected a parameter of a world; did you mean drift?"),
            ("drift=fast", "--set drift: found 'fast', expected a number"),
            ("categories=1.5", "--set categories: found '1.5', expected a whole number"),
            ("start=today", "--set start: found 'today', expected a day such as 2026-01-31"),
        ],
    )
    def test_settings(self, setting, message):
        with pytest.raises(InputError, match=re.escape(message)):
            World.parse([setting])

    def test_settings_have_the_type_of_their_field(self):
        assert World.parse(["drift=1", "categories=8", "start=2025-12-31"]) == {
            "drift": 1.0,
            "categories": 8,
            "start": date(2025, 12, 31),
        }

    def test_a_folder_that_is_taken(self, tmp_path):
        world, folder = World.of(1000, days=2), tmp_path / "synth"
        simulate(world, folder)
        before = sums(folder)
        with pytest.raises(InputError, match="holds a simulated world already; --force replaces it"):
            simulate(world, folder)
        assert simulate(World.of(1000, days=3), folder, force=True).folder == folder
        assert before.keys() < sums(folder).keys()
        (folder / "notes.txt").touch()
        with pytest.raises(InputError, match=r"found notes.txt, which is not of a simulated world; choose another"):
            simulate(world, folder, force=True)
        with pytest.raises(InputError, match="found a file, expected a folder that is not there yet"):
            simulate(world, folder / "notes.txt")
        with pytest.raises(InputError, match=r"notes.txt.* cannot be written .*; choose another folder"):
            simulate(world, folder / "notes.txt" / "synth")
        with pytest.raises(InputError, match="found no name to write under"):
            simulate(world, Path())

    def test_what_breaks_off_leaves_nothing(self, tmp_path):
        def stop(*_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            simulate(World.of(1000, days=2), tmp_path / "synth", progress=stop)
        assert not list(tmp_path.iterdir())


class TestCommand:
    def test_it_writes_a_world(self, tmp_path, capsys):
        folder = tmp_path / "synth"
        arguments = ["data", "synth", "--events", "1000", "--days", "2", "--folder", str(folder), "--set", "drift=0"]
        assert run_command([*arguments, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["config"] == str(folder / "config.yaml")
        assert told["events"] == 1000
        assert json.loads((folder / "world.json").read_text())["world"]["drift"] == 0
        assert run_command(arguments) == 2
        assert "--force replaces it" in capsys.readouterr().err
        assert run_command([*arguments, "--force", "--seed", "5"]) == 0
        assert f"next:    recsys run {folder / 'config.yaml'}" in capsys.readouterr().out


def test_progress_counts_up_to_the_bytes_written(tmp_path):
    told = []
    made = simulate(World.of(1000, days=4), tmp_path / "synth", progress=lambda *what: told.append(what))
    written = sum(path.stat().st_size for path in made.folder.rglob("day-*.parquet"))
    assert [what for what, _, _ in told] == ["simulating"] * 4
    assert told[-1][1:] == (written, written)
    assert all(done <= total for _, done, total in told)
