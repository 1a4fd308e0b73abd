"""Rankers made of trees, from a log to served lists."""

import json
import shutil
import subprocess
import sys

import pytest

from pipelines.run import run_pipeline
from recsys.config import Config
from recsys.settings import load_settings

SERVE = """
import sys
for name in ("lightgbm", "xgboost", "torch", "onnx"):
    sys.modules[name] = None
from recsys.cli import main
sys.argv = ["recsys", "recommend", "workspace/bundles", "--user", "u 1", "--k", "5", "--json"]
main()
"""


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    monkeypatch.chdir(copy)

    def run(kind, *overrides):
        model = f"ranking.model={{kind: {kind}, trees: 40, min_leaf: 2, leaves: 4}}"
        return run_pipeline(load_settings(Config, "shop.yaml", overrides=[model, *overrides]))

    return run


def figures(artifacts):
    return json.loads((artifacts["evaluate"].folder / "metrics.json").read_text())


@pytest.mark.parametrize("kind", ["gbdt", "lambdamart", "gbdt_lr"])
def test_trees_are_served_without_the_library_that_grew_them(run, kind):
    artifacts = run(kind).artifacts
    assert 1 <= artifacts["ranking"].metrics["trees"] <= 40
    assert figures(artifacts)["funnel/ndcg@10"] > 0.2
    done = subprocess.run([sys.executable, "-c", SERVE], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["items"]) == 5


def test_after_refit_there_are_as_many_trees(run):
    kept = run("gbdt", "refit=none").artifacts["ranking"].metrics
    assert run("gbdt", "refit=all").artifacts["ranking"].metrics == kept


def test_the_same_configuration_is_not_run_again(run):
    run("gbdt")
    assert all(artifact.cached for artifact in run("gbdt").artifacts.values())
    assert not run("gbdt", "ranking.model.leaves=5").artifacts["ranking"].cached
