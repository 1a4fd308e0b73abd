"""A kind named without settings runs on every log it can serve: every kind, on every shape of log.

What a kind cannot serve is refused, and stands in `REFUSED` with a part of the message.
"""

import copy
from typing import get_args

import pytest

from recsys.config import Config
from recsys.data.split import SplitConfig
from recsys.losses.config import LossTerm
from recsys.ranking.configs import MULTI_TASK, TREES, RankerConfig
from recsys.ranking.registry import RANKERS
from recsys.recall.configs import RouteConfig
from recsys.recall.registry import ROUTES
from recsys.retrieval.config import FusionConfig, IndexConfig

BASE = {
    "name": "shop",
    "workspace": "workspace",
    "data": {
        "interactions": {"path": "events.csv", "labels": ["click", "buy"]},
        "users": {"path": "users.csv", "columns": {"town": "categorical"}},
        "items": {"path": "items.csv", "columns": {"name": "text", "price": "numeric"}},
    },
    "split": {"kind": "random"},
    "routes": {"popular": {"kind": "popular"}},
}
POSITIVE = {"label": "click", "at_least": 1}
SHAPES = {
    "timestamp": {},
    "row": {"data.order": "row"},
    "row, no time": {"data.order": "row", "data.interactions.timestamp": None},
    "none": {"data.order": "none"},
    "none, no time": {"data.order": "none", "data.interactions.timestamp": None},
    "no users table": {"data.users": None},
    "no items table": {"data.items": None},
    "the log alone": {"data.users": None, "data.items": None},
    "lists": {"data.interactions.request_id": "request"},
    "explicit feedback": {"data.positive": POSITIVE},
    "rows shown": {
        "data.positive": POSITIVE,
        "data.interactions.request_id": "request",
        "samples": {"kind": "events"},
    },
    "rows without lists": {"data.positive": POSITIVE, "samples": {"kind": "events"}},
    "one feature": {"features": {"user": {}, "item": {"price": {"kind": "standard"}}, "context": {}}},
    "no feature": {"features": {"user": {}, "item": {}, "context": {}}},
    "no rank window": {"split": {"kind": "random", "rank": 0}},
    "short lists": {"fusion": {"per_route": 20, "candidates": 20}},
    "long metrics": {"evaluation": {"ks": [10, 500]}},
}
"""What a configuration says of the log and of the rest of the pipeline, apart from the kind."""
UNORDERED, TIMELESS = ("none", "none, no time"), ("row, no time", "none", "none, no time")
WITHOUT_TEXT = ("no items table", "the log alone")
BARE = ("one feature", "no feature")
CANDIDATES_NEED_RANK = ("no rank window",)
NEEDS = {
    "route segment_popular": {"field": "town"},
    "route sentence": {"model": "model"},
}
"""Settings that have no default."""

_CONTENT = ("bm25", "tfidf", "text_vectors", "sentence")
_TOWERS = ("dssm", "youtube_dnn", "simplex", "sasrec", "gru4rec", "fm")
_SEQUENCES = ("din", "dien", "dsin", "bst")
_SINGLE_ROWS = ("bce", "focal", "mse")


def kinds(union):
    """Every kind of a union of settings."""
    return [kind for model in get_args(get_args(union)[0]) for kind in get_args(model.model_fields["kind"].annotation)]


FAMILIES = {
    "route": kinds(RouteConfig),
    "index": kinds(IndexConfig),
    "ranker": kinds(RankerConfig),
    "loss": kinds(LossTerm),
    "fusion": list(get_args(FusionConfig.model_fields["kind"].annotation)),
    "split": kinds(SplitConfig),
}
NAMES = [f"{family} {kind}" for family, names in FAMILIES.items() for kind in names]


def refused():
    """(kind, shape) → a part of the message."""
    found = {}

    def add(family, names, shapes, part):
        found.update({(f"{family} {name}", shape): part for name in names for shape in shapes})

    add("route", ("fresh", "trending"), TIMELESS, "no event is older than another; use popular")
    add("route", ("sasrec", "gru4rec"), UNORDERED, "it learns the next item from those before")
    add("route", _CONTENT, WITHOUT_TEXT, "data.items has no column of kind text, categorical or multi_categorical")
    add("route", ("segment_popular",), (*BARE, "no users table", "the log alone"), "expected a field of features.user")
    add("route", _TOWERS, ("no feature",), "features.item is empty; name at least item_id there")
    add("ranker", FAMILIES["ranker"], CANDIDATES_NEED_RANK, "found candidates, but split.rank is 0")
    add("loss", FAMILIES["loss"], CANDIDATES_NEED_RANK, "found candidates, but split.rank is 0")
    add("ranker", _SEQUENCES, BARE, "features.item has no item_id; add it")
    add("ranker", ("lambdamart",), ("rows without lists",), "every row is a request of its own")
    comparing = [loss for loss in FAMILIES["loss"] if loss not in _SINGLE_ROWS]
    add("loss", comparing, ("rows without lists",), "every row is a request of its own")
    add("split", ("global_time",), ("row, no time",), "there is no moment to cut at")
    add("split", ("global_time", "per_user", "leave_last_out"), UNORDERED, "expected random")
    return found


REFUSED = refused()


NAMED = {
    "route": lambda kind, named: ("routes.own", named),
    "index": lambda kind, named: ("routes.own", {"kind": "als", "index": named}),
    "ranker": lambda kind, named: ("ranking.model", named),
    "loss": lambda kind, named: ("ranking", {"model": {"kind": "lr"}, "loss": kind}),
    "fusion": lambda kind, named: ("fusion.kind", kind),
    "split": lambda kind, named: ("split", named),
}
"""Where a kind of each family is named, and how."""


def configuration(name, changes):
    """The base with a shape's changes and one kind, named and nothing else."""
    data, changes = copy.deepcopy(BASE), dict(changes)
    samples = changes.pop("samples", None)
    family, kind = name.split()
    for path, value in changes.items():
        put(data, path, copy.deepcopy(value))
    put(data, *NAMED[family](kind, {"kind": kind, **NEEDS.get(name, {})}))
    if kind in MULTI_TASK:
        data["ranking"]["tasks"] = {name: {"label": name} for name in ("click", "buy")}
    if kind == "given":
        data["data"]["interactions"]["window"] = "window"
    if samples is not None and "ranking" in data:
        data["ranking"]["samples"] = samples
    return data


def put(data, path, value):
    *way, last = path.split(".")
    for key in way:
        data = data.setdefault(key, {})
    data[last] = value


def test_every_kind_is_named():
    assert set(FAMILIES["route"]) == set(ROUTES)
    assert set(FAMILIES["ranker"]) == set(RANKERS) | set(TREES)


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_without_settings_is_valid_on_every_log_it_can_serve(name):
    for shape, changes in SHAPES.items():
        data, part = configuration(name, changes), REFUSED.get((name, shape))
        if part is None:
            config = Config.model_validate(data)
            assert Config.model_validate(config.model_dump()) == config, f"{shape}: what is settled can be written out"
            continue
        with pytest.raises(ValueError, match=part):
            Config.model_validate(data)
