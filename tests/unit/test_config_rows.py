"""Configurations of logs without users and items: what they take for granted, and what they are refused for."""

import copy

import pytest

from recsys.config import Config
from recsys.errors import ConfigError
from recsys.settings import dump_settings, load_settings
from recsys.yaml_text import render

BASE = {
    "name": "clicks",
    "workspace": "workspace",
    "data": {
        "interactions": {
            "path": "log.csv",
            "user_id": None,
            "item_id": None,
            "timestamp": None,
            "labels": ["click"],
            "context": {"C1": "categorical", "I1": "numeric"},
        },
        "order": "none",
        "positive": {"label": "click", "at_least": 1},
    },
    "split": {"kind": "random"},
    "routes": {},
    "ranking": {"model": {"kind": "lr"}},
}
ORDINARY = {"data.interactions": {"path": "log.csv"}, "data.positive": None, "data.order": "timestamp", "ranking": None}
FILES = {"train": "a.csv", "valid": "b.csv", "test": "c.csv"}


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(changes):
        data = copy.deepcopy(BASE)
        for path, value in changes.items():
            *way, last = path.split(".")
            node = data
            for key in way:
                node = node.setdefault(key, {})
            node[last] = value
        (tmp_path / "x.yaml").write_text(render(data), encoding="utf-8")
        return load_settings(Config, "x.yaml", environ={})

    return read


def test_rows_are_what_is_learned_from(load):
    config = load({})
    assert config.data.rows_only
    assert config.ranking.samples.kind == "events"
    assert config.features.history.fields == ()
    assert load({"ranking.samples": {"negatives_per_positive": 2}}).ranking.samples.kind == "events"
    assert not load({**ORDINARY, "routes": {"popular": {"kind": "popular"}}}).data.rows_only


def test_it_comes_back_from_its_own_text(load, tmp_path):
    config = load({"data.interactions.files": FILES, "data.interactions.path": "", "split": {"kind": "given"}})
    (tmp_path / "y.yaml").write_text(dump_settings(config), encoding="utf-8")
    assert load_settings(Config, "y.yaml", environ={}) == config


def test_columns_are_inputs_of_the_candidate(load):
    load({"ranking.model": {"kind": "fm", "exclude": ["item.I1"]}})
    load({"features": {"context": {"C1": {"kind": "hashed"}}}, "ranking.model": {"kind": "fm", "fields": ["item.C1"]}})
    load({"data.interactions.context": {"user_id": "categorical", "item_id": "categorical"}})


REFUSED = [
    ({"data.interactions.item_id": "item"}, "data: interactions.user_id is null but item_id is 'item'; expected both"),
    ({"data.interactions.user_id": "user"}, "data: interactions.item_id is null but user_id is 'user'; expected both"),
    ({"data.interactions.context": {}}, "data: interactions.context is empty, but user_id and item_id are null"),
    ({"data.items": {"path": "i.csv"}}, "data: items: found a table, but interactions.user_id and item_id are null"),
    ({"data.users": {"path": "u.csv"}}, "data: users: found a table, but interactions.user_id and item_id are null"),
    ({"data.order": "timestamp"}, "data: order is timestamp but interactions.timestamp is null"),
    ({"data.interactions.path": ""}, "data: interactions: found neither path nor files; expected path, or files"),
    ({"data.interactions.files": FILES}, "data: interactions: found both path and files"),
    (
        {"data.interactions.path": "", "data.interactions.files": {"train": "a", "test": "c"}},
        "data: interactions.files: no valid; expected train, valid and test",
    ),
    (
        {"data.interactions.path": "", "data.interactions.files": FILES, "data.interactions.window": "w"},
        "data: interactions: found files and window: 'w'",
    ),
    (
        {"data.interactions.path": "", "data.interactions.files": FILES},
        "split.kind: found random, but data.interactions.files say which rows are train, valid and test;",
    ),
    ({"split": {"kind": "given"}}, "split.kind: found given, but data.interactions.window is null"),
    (
        {"split": {"kind": "per_user"}, "data.order": "row"},
        "split.kind: found per_user, but data.interactions.user_id and item_id are null; expected random, global_time",
    ),
    (
        {"routes": {"popular": {"kind": "popular", "half_life_days": None}}},
        "routes: found popular, but data.interactions.user_id and item_id are null, so there is nothing to recommend",
    ),
    ({"ranking": None}, "ranking: found null, but data.interactions.user_id and item_id are null: a ranker is all"),
    (
        {"ranking.samples": {"kind": "candidates"}},
        "ranking.samples.kind: found candidates, but data.interactions.user_id and item_id are null; expected events",
    ),
    ({"data.positive": None}, "ranking.samples.kind: found events, but data.positive is null"),
    (
        {"features.item": {"C1": {"kind": "categorical"}}},
        "features.item: found inputs, but data.interactions.user_id and item_id are null; name columns under features",
    ),
    ({"features.history": {"fields": ["item_id"]}}, "features.history.fields.0: found 'item_id', expected a field of"),
    (
        {"ranking.model": {"kind": "din"}},
        "ranking.model.kind: found din, which compares past items with the candidate, but a log without users",
    ),
    (
        {"ranking.model": {"kind": "lr", "fields": ["context.C1"]}},
        "ranking.model.fields.0: found 'context.C1', expected a model input; known are item.C1, item.I1",
    ),
    (
        {"ranking.model": {"kind": "lr", "fields": ["route.fusion.rank"]}},
        "ranking.model.fields.0: found 'route.fusion.rank', expected a model input",
    ),
    ({"ranking.loss": "softmax"}, "ranking.loss: found softmax, which compares the candidates of a request"),
    (ORDINARY, "routes: found no route, expected at least one, such as popular: {kind: popular}"),
]


@pytest.mark.parametrize(("changes", "what"), REFUSED)
def test_what_is_refused(load, changes, what):
    with pytest.raises(ConfigError) as error:
        load(changes)
    assert any(line.split(": ", 1)[1].startswith(what) for line in str(error.value).splitlines()), str(error.value)
