"""A ranker whose samples are larger than the memory they are given."""

import json
import shutil

import pytest

from pipelines.run import run_pipeline
from recsys.config import Config
from recsys.funnel.requests import Request
from recsys.funnel.runtime import Funnel
from recsys.settings import load_settings

DIN = "ranking.model={kind: din, embedding_dim: 4, hidden: [8], history_length: 6}"
FIELDS = "features.history.fields=[item_id, tags]"


class Heard:
    """What a stage says."""


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """Runs the shop's pipeline; gives the ranker's graph, the run's figures, and the funnel."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    monkeypatch.chdir(copy)

    def run(*overrides):
        artifacts = run_pipeline(load_settings(Config, "shop.yaml", overrides=overrides)).artifacts
        figures = json.loads((artifacts["evaluate"].folder / "metrics.json").read_text())
        bundles = artifacts["bundle"].folder / "bundles" / "1"
        graph = (artifacts["ranking"].folder / "scorer" / "model.onnx").read_bytes()
        return graph, {**artifacts["ranking"].metrics, **figures}, Funnel.load(bundles)

    return run


@pytest.mark.parametrize("overrides", [(), (DIN, FIELDS, "refit=all"), ("ranking.samples.per=event",)])
def test_a_streamed_ranker_is_as_good(run, overrides):
    _, held, _ = run(*overrides)
    _, streamed, funnel = run(*overrides, "ranking.memory_mb=0.03")
    for figures in (held, streamed):
        assert figures["valid/ndcg@10"] > 0.3
        assert figures["funnel/ndcg@10"] > 0.3
    assert len(funnel.recommend([Request(user_id="u 1")], k=5)[0].items) == 5


def test_a_buffer_that_holds_everything_changes_nothing(run):
    held, _, _ = run()
    # Training and validation do not fit together, but each fits into its half.
    streamed, _, _ = run("ranking.memory_mb=0.04")
    assert streamed == held
