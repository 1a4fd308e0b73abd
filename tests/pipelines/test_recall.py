"""The stage of a route, without the graph: what it reads and what it depends on."""

import numpy as np
import pytest

from pipelines.stage import StageContext
from pipelines.stages import route_stage
from pipelines.store import Store
from recsys.config import Config
from recsys.features.batch import QueryBatch
from recsys.retrieval.registry import load_retriever
from recsys.settings import load_settings


@pytest.fixture
def configured(finished, monkeypatch):
    """The shop's configuration with another route."""
    monkeypatch.chdir(finished)

    def made(**route):
        settings = load_settings(Config, "shop.yaml").model_dump()
        return Config.model_validate({**settings, "routes": {"words": route}})

    return made


def test_a_route_that_reads_the_items_depends_on_how_they_are_read(configured):
    words, plain = (route_stage(configured(kind=kind), "words", "recall") for kind in ("bm25", "itemcf"))
    assert words.inputs == ("split", "features", "ingest")
    columns = {"name": "text", "price": "numeric", "tags": "multi_categorical"}
    assert words.config["data"] == {"order": "timestamp", "items": {"columns": columns}}
    assert plain.inputs == ("split", "features")
    assert plain.config["data"] == {"order": "timestamp"}


def test_items_are_found_by_their_tags(configured, finished, tmp_path):
    stage = route_stage(configured(kind="tfidf", columns=["tags"], max_items=30), "words", "refit")
    latest = Store(finished / "workspace").latest()
    context = StageContext({name: latest[name].folder for name in stage.inputs}, tmp_path, tmp_path)
    stage.run(context)
    retriever = load_retriever(tmp_path / "retriever", {})
    codes, _ = retriever.retrieve(QueryBatch(np.array([[3]], np.int32), np.array([1], np.int32), {}), 24)
    # Every third item has the tags a and b, and codes follow the items table.
    assert codes[0, :7].tolist() == [0, 6, 9, 12, 15, 18, 21]
    assert (codes[0, 7:] == -1).all()
