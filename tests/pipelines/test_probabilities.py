"""Probabilities that are served: what they say happens that often."""

import json
from functools import partial

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.candidates import GroupedRequests
from pipelines.run import run_pipeline
from recsys.cli import app
from recsys.config import Config
from recsys.funnel.requests import Request
from recsys.settings import load_settings

USERS, ITEMS, STEPS = 60, 20, 60
CONFIG = """\
name: clicks
workspace: workspace
data:
  interactions: {path: events.csv, labels: [click]}
  positive: {label: click, at_least: 1}
  items: {path: items.csv, columns: {price: numeric, size: numeric}}
split: {kind: per_user, rank: 0.2, valid: 0.2, test: 0.2}
policy: {exclude_seen: never}
features: {item: {price: {kind: standard}, size: {kind: standard}}, history: {fields: []}}
routes: {popular: {kind: popular}}
ranking:
  model: {kind: lr}
  samples: {kind: events}
  training: {epochs: 40, batch_size: 64, threads: 1, patience: 0, optimiser: {learning_rate: 0.02}}
evaluation: {ks: [5], bootstrap: 20}
fusion: {per_route: 20, candidates: 20}
tracking: {kind: none}
"""
PRICE, SIZE = np.random.default_rng(1).normal(size=(2, ITEMS))
RATE = 1 / (1 + np.exp(2.5 - PRICE + 0.5 * SIZE))


@pytest.fixture(scope="module")
def log(tmp_path_factory, write_csv):
    """Clicks that follow a logistic regression on two numbers of the item, about one of ten."""
    folder, rng = tmp_path_factory.mktemp("clicks"), np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for step in range(STEPS):
            item = int(rng.integers(ITEMS))
            rows.append([f"u{user}", f"i{item}", 1000 + step, int(rng.random() < RATE[item])])
    items = [[f"i{item}", price, size] for item, (price, size) in enumerate(zip(PRICE, SIZE, strict=True))]
    write_csv(folder / "events.csv", ["user_id", "item_id", "timestamp", "click"], rows)
    write_csv(folder / "items.csv", ["item_id", "price", "size"], items)
    (folder / "clicks.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


@pytest.fixture
def ran(log, run_to_bundle):
    return partial(run_to_bundle, log / "clicks.yaml")


def served(funnel):
    """Of every item, the probability that is served."""
    items = funnel.recommend([Request(user_id="u1")], k=ITEMS)[0].items
    return {int(item.item_id[1:]): item.probability for item in items}


def test_the_threshold_of_validation_is_reported_on_the_test_window_and_travels_with_the_bundle(ran):
    metrics, funnel = ran("ranking.threshold=f1")
    assert funnel.parts.ranker.calibration.thresholds == (pytest.approx(metrics["ranker/threshold"]),)
    # Saying yes to all would get 2 · rate / (rate + 1).
    assert metrics["ranker/f1"] > 1.2 * 2 * RATE.mean() / (RATE.mean() + 1)
    precision, recall = metrics["ranker/precision"], metrics["ranker/recall"]
    assert metrics["ranker/f1"] == pytest.approx(2 / (1 / precision + 1 / recall))
    items = funnel.recommend([Request(user_id="u1")], k=ITEMS)[0].items
    assert [item.probability for item in items] == pytest.approx([1 / (1 + np.exp(-item.score)) for item in items])


@pytest.mark.parametrize("how", ["under_sample", "smote"])
def test_another_ratio_leaves_probabilities_as_they_are(ran, how):
    ratio = ("ranking.samples.negatives_per_positive=1", f"ranking.samples.imbalance={how}")
    metrics, funnel = ran(*ratio, "ranking.threshold=f1", "ranking.training.epochs=20", "refit=all")
    chances = served(funnel)
    assert np.mean(list(chances.values())) == pytest.approx(RATE.mean(), abs=0.03)
    assert metrics["ranker/calibration_error"] < 0.1


@pytest.mark.parametrize("how", ["under_sample", "over_sample", "class_weight"])
def test_the_ratio_is_that_of_the_samples(log, monkeypatch, how):
    monkeypatch.chdir(log)
    rows = ["ranking.samples.negatives_per_positive=2", f"ranking.samples.imbalance={how}"]
    result = run_pipeline(load_settings(Config, "clicks.yaml", overrides=rows), until="candidates")
    train, valid = (GroupedRequests.load(result.artifacts["candidates"].folder / part) for part in ("train", "valid"))
    positive, weight = train.groups.labels > 0, np.ones(train.groups.labels.shape)
    weight = weight if train.weight is None else train.weight
    assert weight[~positive].sum() / weight[positive].sum() == pytest.approx(2, rel=0.01)
    rate = valid.groups.labels.mean()
    assert np.unique(train.offset) == pytest.approx(np.log(0.5) - np.log(rate / (1 - rate)), abs=0.3)
    assert valid.weight is valid.offset is None


def test_drawn_candidates_know_their_chance(log, monkeypatch):
    monkeypatch.chdir(log)
    drawn = ["kind=candidates", "candidate_negatives=2", "popularity_negatives=3", "logq=true", "per=event"]
    given = [f"ranking.samples.{setting}" for setting in drawn]
    overrides = [*given, "fusion={per_route: 8, candidates: 8}"]
    result = run_pipeline(load_settings(Config, "clicks.yaml", overrides=overrides), until="candidates")
    train = GroupedRequests.load(result.artifacts["candidates"].folder / "train")
    codes, labels = train.groups.codes, train.groups.labels
    # One of eight candidates is the positive: two of seven are drawn, had it been none, two of eight.
    assert labels.sum(axis=1).tolist() == [1] * len(labels)
    np.testing.assert_allclose(train.offset[:, 0], np.log(8 / 2), rtol=1e-6)
    np.testing.assert_allclose(train.offset[:, 1:3], np.log(7 / 2), rtol=1e-6)
    far, above = codes[:, 3:], train.offset[:, 3:]
    assert (far >= 0).any()
    assert (above[far < 0] == 0).all()
    # What is met more often is drawn more often, and is made up for less.
    met = [above[far == item].mean() for item in range(ITEMS) if (far == item).any()]
    assert np.ptp(met) > 0.1


def test_a_ranker_learns_from_hard_negatives_and_is_fitted_again(log, monkeypatch):
    monkeypatch.chdir(log)
    drawn = ["kind=candidates", "uniform_negatives=3", "hard_negatives=1"]
    given = [*(f"ranking.samples.{setting}" for setting in drawn), "ranking.training.epochs=4", "refit=all"]
    result = run_pipeline(
        load_settings(Config, "clicks.yaml", overrides=[*given, "fusion={per_route: 8, candidates: 8}"])
    )
    train = GroupedRequests.load(result.artifacts["candidates"].folder / "train")
    assert train.groups.from_catalogue[:, -3:].any()
    assert not train.groups.from_catalogue[:, :-3].any()
    assert result.artifacts["ranking"].metrics["epochs"] == 4


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_a_loss_that_tells_no_probabilities_is_calibrated(ran, kind):
    heavy = "ranking.loss={kind: bce, positive_weight: 8}"
    before, raw = ran(heavy)
    after, funnel = ran(heavy, f"ranking.calibration={kind}")
    assert after["ranker/auc"] == before["ranker/auc"]
    assert after["ranker/logloss"] < 0.8 * before["ranker/logloss"]
    assert after["ranker/calibration_error"] < 0.1 < 0.2 < before["ranker/calibration_error"]
    chances = served(funnel)
    assert np.mean([chances[item] - RATE[item] for item in chances]) == pytest.approx(0, abs=0.03)
    assert set(served(raw).values()) == {None}
    done = CliRunner().invoke(app, ["recommend", "workspace/bundles", "--user", "u1", "--k", str(ITEMS), "--json"])
    assert {int(i["item_id"][1:]): i["probability"] for i in json.loads(done.stdout)["items"]} == pytest.approx(chances)
