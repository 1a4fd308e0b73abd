"""Floors on real data, below what several seeds reached. Fetches MovieLens 100K once."""

import json

import numpy as np
import pytest

from pipelines.run import run_pipeline
from pipelines.store import Store
from recsys.bundle.store import latest
from recsys.config import Config
from recsys.data.public import ensure
from recsys.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.network]


def figures(config, workspace, *overrides):
    """Runs a shipped configuration in a workspace of its own; the evaluation's metrics."""
    given = (f"workspace={workspace}", "tracking.kind=none", *overrides)
    settings = load_settings(Config, f"configs/{config}.yaml", overrides=given)
    ensure(settings.data)
    run_pipeline(settings)
    folder = Store(workspace).latest()["evaluate"].folder
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def funnel(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("funnel")
    return workspace, figures("movielens-100k", workspace)


def test_the_funnel_keeps_its_quality(funnel):
    _, found = funnel
    assert found["funnel/ndcg@10"] >= 0.198
    assert found["funnel/recall@10"] >= 0.185


def test_every_route_keeps_its_quality(funnel):
    _, found = funnel
    assert found["route.popular/ndcg@10"] >= 0.07
    assert found["route.itemcf/ndcg@10"] >= 0.19
    assert found["route.ease/ndcg@10"] >= 0.16
    assert found["route.dssm/ndcg@10"] >= 0.175


def test_the_bundle_answers_within_the_time_it_promises(funnel):
    import time

    from recsys.funnel.requests import Request
    from recsys.funnel.runtime import Funnel
    from recsys.serving.server import limit_threads

    limit_threads()
    loaded = Funnel.load(latest(funnel[0] / "bundles"))
    seconds = []
    for user in loaded.parts.users.ids.to_pylist()[:300]:
        # Of this thread: others may keep the machine busy, and so may idle ones of libraries imported before the limit.
        began = time.thread_time()
        loaded.recommend([Request(user_id=user)], 10)
        seconds.append(time.thread_time() - began)
    assert np.median(seconds) <= 0.005


def test_a_click_model_keeps_its_auc(tmp_path):
    assert figures("movielens-100k-click", tmp_path)["ranker/auc"] >= 0.780
