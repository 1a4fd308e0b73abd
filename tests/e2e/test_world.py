"""From nothing to judged lists on a simulated world: floors three seeds exceeded (funnel .46-.51, dssm .51-.53)."""

import json

import pytest

from pipelines.store import Store
from recsys.cli import run_command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    size = ("--events", "200000", "--users", "2000", "--items", "800", "--seed", "1")
    assert run_command(["data", "synth", *size, "--folder", str(folder / "synth")]) == 0
    given = ("--set", f"workspace={folder / 'workspace'}", "--set", "tracking.kind=none")
    assert run_command(["run", str(folder / "synth" / "config.yaml"), *given]) == 0
    evaluation = Store(folder / "workspace").latest()["evaluate"].folder
    return json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))


def test_what_learns_taste_comes_nearer_to_the_truth_than_what_is_popular(shares):
    assert shares["route.dssm/true_ndcg@10"] >= 0.46
    assert shares["funnel/true_ndcg@10"] >= 0.41
    assert shares["funnel/true_ndcg@10/low"] > shares["route.popular/true_ndcg@10/high"]


def test_nothing_is_better_than_the_truth(shares):
    assert max(value for name, value in shares.items() if name.endswith("/true_ndcg@10")) < 1
    assert 0 < shares["funnel/regret@10"] < 0.45
