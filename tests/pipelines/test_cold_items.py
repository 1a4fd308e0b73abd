"""Items that nobody has had yet: every route that reads what items say finds them, in a real, small pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.graph import plan
from pipelines.run import run_pipeline
from pipelines.stages import route_stage, stages_for
from pipelines.store import Store
from recsys.cli import run_command
from recsys.config import Config
from recsys.features.batch import QueryBatch
from recsys.retrieval.registry import load_retriever
from recsys.settings import load_settings

WORDS = ("saloon sheriff desert horse", "orbit rocket galaxy alien", "vault safe guard heist")
"""Of the three circles in which the shop's users walk."""
TRAINING = {"embedding_dim": 16, "device": "cpu"}
ROUTES = {
    "bm25": {"kind": "bm25"},
    "tfidf": {"kind": "tfidf"},
    "word2vec": {"kind": "text_vectors", "training": TRAINING},
    "fasttext": {"kind": "text_vectors", "training": TRAINING, "subwords": {}},
    "sentence": {"kind": "sentence", "model": "model"},
}
ITEMS = {
    "path": "data/items.csv",
    "title": "name",
    "columns": {"name": "text", "price": "numeric", "tags": "categorical"},
}
CHANGES = [
    *(f"routes={json.dumps(ROUTES)}", "ranking=null", f"data.items={json.dumps(ITEMS)}", "evaluation.bootstrap=10"),
    *("features.item={item_id: {kind: categorical}}", "fusion={per_route: 12, candidates: 27}"),
]


LISTED = 23
"""Items of the log that the items table has; the last it does not. Codes follow the table, then the log."""
NEW = range(LISTED, LISTED + 3)
SILENT = {LISTED + 3, LISTED + 4}
"""An item without words, and the one that the table does not have."""


def write_items(shop, folder, said=str):
    """Three circles of eight, of one kind of story each, the last item missing; three that nobody has; a mute one."""
    rng = np.random.default_rng(2)
    names = [(shop["item_name"](number), number // 8) for number in range(LISTED)]
    names += [(f"new {circle}", circle) for circle in range(3)]
    rows = [
        [name, said(" ".join(rng.choice(WORDS[circle].split(), 3, replace=False))), 1.0, ""] for name, circle in names
    ]
    shop["write"](folder / "data" / "items.csv", ["item_id", "name", "price", "tags"], [*rows, ["mute", "", 2.0, ""]])


@pytest.fixture(scope="module")
def ran(shop, word_model, tmp_path_factory):
    """The shop with these routes, run once, beside the stand-in's model."""
    folder = tmp_path_factory.mktemp("cold")
    shop["write_shop"](folder)
    write_items(shop, folder)
    word_model.rename(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_pipeline(config())
        yield folder


def config(*overrides):
    return load_settings(Config, "shop.yaml", overrides=[*CHANGES, *overrides])


def found(name, history, k):
    """Ids of the items that a route finds for a history of item codes."""
    latest = Store(Path("workspace")).latest()
    retriever = load_retriever(latest[f"refit.{name}"].folder / "retriever", {})
    codes, _ = retriever.retrieve(QueryBatch(np.array([history], np.int32), np.array([len(history)], np.int32), {}), k)
    return codes[0].tolist()


@pytest.mark.parametrize("name", ROUTES)
def test_what_nobody_has_had_is_found_by_each_route(ran, name):
    for circle, new in enumerate(NEW):
        best = found(name, [8 * circle, 8 * circle + 3], 8)
        assert new in best
        assert not (({*NEW} - {new}) | SILENT) & {*best}


@pytest.mark.parametrize("name", ROUTES)
def test_a_history_that_says_nothing_is_as_good_as_none(ran, name):
    """Of items that say nothing themselves, or are not in the table."""
    silent = sorted(SILENT)
    told = [code for code in found(name, silent, 10) if code >= 0]
    assert told == [code for code in found(name, [], 10) if code >= 0]
    np.testing.assert_array_equal(found(name, [*silent, 3], 8), found(name, [3], 8))


def test_what_nobody_has_had_is_recommended(ran, capsys):
    """User 1 walks in the second circle and has seen all the rest of it."""
    capsys.readouterr()
    assert run_command(["recommend", "shop.yaml", "--user", "u 1", "-k", "5", "--json"]) == 0
    ids = [item["item_id"] for item in json.loads(capsys.readouterr().out)["items"]]
    assert ids[0] == "new 1"


@pytest.mark.parametrize("name", ROUTES)
def test_a_catalogue_whose_texts_are_empty_is_refused(shop, ran, tmp_path, monkeypatch, capsys, name):
    shop["write_shop"](tmp_path)
    write_items(shop, tmp_path, said=lambda text: " ")
    monkeypatch.chdir(tmp_path)
    routes = {"words": {**ROUTES[name], "columns": ["name"]}}
    changes = [part for change in [*CHANGES, f"routes={json.dumps(routes)}"] for part in ("--set", change)]
    assert run_command(["run", "shop.yaml", *changes, "--until", "recall.words"]) == 2
    assert (
        f"{ROUTES[name]['kind']}: column 'name' has no word or value of any of 28 items; leave it out of the route's "
        "columns, or look into the file" in " ".join(capsys.readouterr().err.split())
    )


def test_another_model_makes_another_route(ran):
    """Its files are part of what the route is made of; those of no other route are."""

    def stale():
        return {status.stage for status in plan(stages_for(config()), ran / "workspace") if status.state != "fresh"}

    assert stale() == set()
    weights = ran / "model" / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(b"other")
    assert {"recall.sentence", "refit.sentence"} <= stale()
    assert not {f"{phase}.{name}" for phase in ("recall", "refit") for name in ROUTES if name != "sentence"} & stale()
    weights.write_bytes(before)
    assert stale() == set()
    assert [str(path) for path in route_stage(config(), "sentence", "recall").files] == ["model"]
