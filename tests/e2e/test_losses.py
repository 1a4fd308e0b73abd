"""Losses that compare candidates against those that do not on impression lists, and against LightGBM on its own lists.

The latter need `rank.train`, `rank.test` and their `.query`, in the folder that RECSYS_LAMBDARANK names.
"""

import os
from pathlib import Path

import pytest

from benchmarks.losses import LISTWISE, against_lightgbm, on_impressions

pytestmark = pytest.mark.slow


def test_pairs_and_lists_order_impressions_better_than_points():
    found = on_impressions(("bce", "mse", "ranknet", "softmax", "lambdarank", "approx_ndcg"))
    assert set(found["gain"]) == {"ranknet", "softmax", "lambdarank", "approx_ndcg"}
    assert min(found["gain"].values()) > 0
    assert max(found["p"].values()) < 0.01


@pytest.mark.timeout(3600)
def test_a_network_comes_as_far_as_the_trees_of_lightgbm():
    folder = os.environ.get("RECSYS_LAMBDARANK")
    if folder is None:
        pytest.skip("RECSYS_LAMBDARANK names no folder")
    found = against_lightgbm(Path(folder), LISTWISE)
    assert found["ours"] >= found["peer"] - 0.02
