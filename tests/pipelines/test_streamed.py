"""A ranker whose samples are larger than the memory they are given."""

import json
import shutil

import pytest

from pipelines.graph import Observer
from pipelines.run import run_pipeline
from recsys.config import Config
from recsys.funnel.requests import Request
from recsys.funnel.runtime import Funnel
from recsys.settings import load_settings

DIN = (
    "ranking.model={kind: din, embedding_dim: 4, hidden: [8], history_length: 6}",
    "features.history.fields=[item_id, tags]",
    "refit=all",
)


class Heard(Observer):
    """What stages say."""

    def __init__(self):
        self.lines = []

    def on_message(self, stage, text):
        self.lines.append(text)


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """Runs the shop's pipeline; gives its artifacts and what was said of streams."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    monkeypatch.chdir(copy)

    def run(*overrides):
        heard = Heard()
        artifacts = run_pipeline(load_settings(Config, "shop.yaml", overrides=overrides), observer=heard).artifacts
        return artifacts, [line for line in heard.lines if "streaming" in line]

    return run


def test_a_streamed_ranker_is_as_good(run):
    for overrides, streamed in ((DIN, False), ((*DIN, "ranking.memory_mb=0.03"), True)):
        artifacts, said = run(*overrides)
        assert bool(said) == streamed
        assert artifacts["ranking"].metrics["valid/ndcg@10"] > 0.3
        assert json.loads((artifacts["evaluate"].folder / "metrics.json").read_text())["funnel/ndcg@10"] > 0.3
    funnel = Funnel.load(artifacts["bundle"].folder / "bundles" / "1")
    assert len(funnel.recommend([Request(user_id="u 1")], k=5)[0].items) == 5


def test_a_training_window_that_fits_into_the_buffer_gives_the_same_weights(run):
    # 13 kB to learn from, 18 kB to validate on: too much together, but the first fits into half of what is allowed.
    (held, _), (streamed, said) = run(), run("ranking.memory_mb=0.0277")
    assert said
    graphs = [ran["ranking"].folder / "scorer" / "model.onnx" for ran in (held, streamed)]
    assert graphs[0] != graphs[1]
    assert graphs[0].read_bytes() == graphs[1].read_bytes()
