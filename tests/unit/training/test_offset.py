"""Samples that are no picture of the world, and scores that are: predicted and true rates, corrected and not."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from recsys.data.imbalance import balancing_weight, gained_log_odds, over_sampled, under_sampled
from recsys.data.sampling import sample_groups
from recsys.features.batch import Field, InputSpec
from recsys.losses.listwise import softmax_cross_entropy
from recsys.losses.pointwise import bce
from recsys.ranking.settings.trees import GBDTConfig, GBDTLRConfig
from recsys.ranking.trees.fit import fit_trees
from recsys.training.batches import Samples, joined
from recsys.training.config import TrainingConfig
from recsys.training.oversampling import synthetic_positives
from recsys.training.trainer import predict, seeded, train

N, RATIO, STEPS = 20_000, 1.0, 600
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 1)).astype(np.float32)
LABELS = (RNG.random((N, 1)) < 1 / (1 + np.exp(3.5 - X))).astype(np.float32)
POSITIVE = LABELS[:, 0] > 0
RATE = float(LABELS.mean())
SPEC = InputSpec((Field("item.x", 0, 1, ""),), 1)


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, inputs, mask=None):
        return self.line(inputs["item.x"].unsqueeze(-1)).squeeze(-1)


def samples(rows=slice(None), weight=None, gained=None):
    labels = LABELS[rows]
    offset = None if gained is None else np.full(labels.shape, gained, np.float32)
    return Samples({"item.x": X[rows]}, labels, np.ones(labels.shape, bool), 256, weight, offset=offset)


def drawn(how):
    """Samples brought to one negative a positive, and by how much that moves log-odds."""
    if how == "class_weight":
        factor = balancing_weight(POSITIVE, RATIO)
        return slice(None), np.where(LABELS > 0, factor, 1).astype(np.float32), math.log(factor)
    rows = {"under_sample": under_sampled, "over_sample": over_sampled}[how](POSITIVE, RATIO, np.random.default_rng(1))
    return rows, None, gained_log_odds(POSITIVE, POSITIVE[rows])


def trained(given, loss=bce):
    with seeded(0):
        model = Line()
    settings = {"epochs": max(STEPS // len(given), 1), "threads": 1, "optimiser": {"learning_rate": 0.05}}
    train(model, loss, given, TrainingConfig.model_validate(settings), seed=0, log=lambda *_: None)
    return model


def rate_of(given):
    return float((1 / (1 + np.exp(-predict(trained(given), samples())))).mean())


@pytest.mark.parametrize("how", ["under_sample", "over_sample", "class_weight"])
def test_a_network_predicts_the_true_rate_from_balanced_samples(how):
    rows, weight, gained = drawn(how)
    assert rate_of(samples(rows, weight, gained)) == pytest.approx(RATE, rel=0.15)
    assert rate_of(samples(rows, weight)) > 8 * RATE


@pytest.mark.parametrize("kind", ["smote", "adasyn"])
def test_made_up_positives_are_made_up_for(kind):
    """Roughly: what is made up is no draw from the positives, only like them."""
    given = synthetic_positives(samples(), kind, RATIO, seed=0)
    assert rate_of(given) == pytest.approx(RATE, rel=0.5)
    assert rate_of(replace(given, offset=None)) > 8 * RATE


@pytest.mark.parametrize("backend", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("config", [GBDTConfig, GBDTLRConfig])
def test_trees_predict_the_true_rate_from_balanced_samples(config, backend):
    kind = config.model_fields["kind"].annotation.__args__[0]
    model = config(kind=kind, backend=backend, trees=20, leaves=4, learning_rate=0.1)
    rows, weight, gained = drawn("under_sample")

    def rate(given):
        scores = fit_trees(model, SPEC, given, seed=0, threads=1).scores(samples())
        return float((1 / (1 + np.exp(-scores))).mean())

    assert rate(samples(rows, weight, gained)) == pytest.approx(RATE, rel=0.15)
    assert rate(samples(rows, weight)) > 8 * RATE


def test_a_ranker_starts_at_the_corrected_log_odds(tmp_path):
    from recsys.ranking.configs import LRConfig
    from recsys.ranking.registry import build_ranker

    rows, weight, gained = drawn("under_sample")
    model = build_ranker(LRConfig(kind="lr"), SPEC, 1)
    model.fit_inputs(samples(rows, weight, gained))
    assert model.bias.item() == pytest.approx(math.log(RATE / (1 - RATE)), rel=1e-4)


def requests(logq):
    """4,000 requests of 30 candidates: three others beside the positives, and two items drawn evenly from 200."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=200).astype(np.float32)
    codes = np.argsort(rng.random((4000, 200)), axis=1)[:, :30].astype(np.int32)
    labels = (rng.random(codes.shape) < 1 / (1 + np.exp(3 - x[codes]))).astype(np.float32)
    some = labels.any(axis=1)
    codes, labels = codes[some], labels[some]
    none = np.empty((len(codes), 0), np.int32)
    groups = sample_groups(
        codes, labels, none, candidate_negatives=3, uniform_negatives=0, n_items=200, rng=np.random.default_rng(3)
    )
    real = groups.codes >= 0
    offset = np.where(real, -np.log(groups.chance), 0).astype(np.float32) if logq else None
    given = Samples({"item.x": x[groups.codes]}, groups.labels, real, 64, offset=offset)
    return given, Samples({"item.x": x[codes]}, labels, np.ones(labels.shape, bool), 64)


def test_drawn_candidates_teach_the_rate_among_all_of_them():
    for logq, expected in ((True, pytest.approx(1, rel=0.1)), (False, pytest.approx(4, rel=0.3))):
        given, every = requests(logq)
        chances = 1 / (1 + np.exp(-predict(trained(given), every)))
        assert chances.mean() / every.labels.mean() == expected


def test_softmax_over_items_drawn_by_popularity_finds_the_preference():
    """One of 50 items is taken, by exp(x); the negatives are drawn far more often where x is high."""
    rng = np.random.default_rng(4)
    x = np.sort(rng.normal(size=50)).astype(np.float32)
    taken = rng.choice(50, 4000, p=np.exp(x) / np.exp(x).sum())
    chance = np.clip(np.exp(1.5 * x) / 20, 0.01, 1)
    there = rng.random((4000, 50)) < chance
    there[np.arange(4000), taken] = True
    labels = (np.arange(50) == taken[:, None]).astype(np.float32)
    offset = np.tile(-np.log(chance), (4000, 1)).astype(np.float32)

    def preference(offset):
        given = Samples({"item.x": np.tile(x, (4000, 1))}, labels, there, 64, offset=offset)
        return trained(given, softmax_cross_entropy).line.weight.item()

    assert preference(offset) == pytest.approx(1, abs=0.1)
    assert preference(None) < 0


def test_joined_samples_keep_their_own_offsets():
    both = joined(samples(slice(3), gained=2.0), samples(slice(2)))
    np.testing.assert_array_equal(both.offset[:, 0], [2, 2, 2, 0, 0])
    assert joined(samples(slice(3)), samples(slice(2))).offset is None
    assert torch.equal(next(both.in_order()).offset, torch.tensor([[2.0], [2], [2], [0], [0]]))
