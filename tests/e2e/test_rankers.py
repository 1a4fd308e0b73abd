"""Rankers on simulated worlds come in the order in which they can see what was planted: floors below what was seen."""

import pytest

from benchmarks.rankers import PARTS, measured, shares

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SEEDS = (0, 1)


def mean_shares(part):
    """Of the oracle's AUC above ½, by ranker."""
    found = measured(PARTS[part], SEEDS)
    return {name: float(shares(found, name)[:, 0].mean()) for name in PARTS[part].rankers}


def test_who_sees_crosses_is_nearer_to_the_truth():
    share = mean_shares("crosses")
    assert share["fm"] >= share["lr"] + 0.35
    assert min(share["deepfm"], share["dcnv2"]) >= share["fm"] - 0.005
    assert share["fm"] >= 0.82
    assert min(share["deepfm"], share["dcnv2"]) >= 0.84
    assert max(share.values()) < 1


def test_who_sees_the_order_of_clicks_is_nearer_to_the_truth():
    share = mean_shares("interests")
    assert share["din"] >= share["deepfm"] + 0.04
    assert share["dien"] >= share["din"] - 0.01
    assert share["dien"] >= 0.64
    assert max(share.values()) < 1
