"""Training runs: what is learned, kept, stopped and said."""

import math
import os
import re
import signal

import numpy as np
import pytest
import torch
from torch import nn

from recsys.errors import TrainingError
from recsys.features.batch import Field
from recsys.losses.pointwise import bce
from recsys.nn.embedding import EmbeddingCollection
from recsys.training.batches import Batch, Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import predict, seeded, train

ITEM = Field("item.id", 6, 1, "item.id")


class Model(nn.Module):
    """A line through one number, dropout that makes it noisy, and a bias an item."""

    def __init__(self, *, dropout=0.0, sparse=False, tasks=False):
        super().__init__()
        self.line = nn.Linear(1, 1)
        self.table = EmbeddingCollection([ITEM], 1, sparse=sparse)
        self.dropout = nn.Dropout(dropout)
        self.tasks = tasks

    def forward(self, inputs, mask=None):
        numbers = self.dropout(inputs["item.x"].unsqueeze(-1))
        scores = self.line(numbers) + self.table(inputs, [ITEM]).squeeze(-1)
        return scores if self.tasks else scores.squeeze(-1)


@pytest.fixture
def samples():
    """Labels are drawn with the probability σ(3x)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype(np.float32)
    labels = (rng.random(x.shape) < 1 / (1 + np.exp(-3 * x))).astype(np.float32)
    inputs = {"item.x": x, "item.id": rng.integers(1, 6, x.shape)}
    return Samples(inputs, labels, np.ones(x.shape, dtype=bool), 16)


@pytest.fixture
def quick():
    return TrainingConfig.model_validate({"epochs": 3, "optimiser": {"learning_rate": 0.05}})


def quiet(*_):
    """Takes a curve nobody reads."""


def fresh(**settings):
    with seeded(7):
        return Model(**settings)


def weights(model):
    return {name: values.numpy().tobytes() for name, values in model.state_dict().items()}


@pytest.mark.parametrize("tasks", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_learns_and_logs_every_epoch(samples, sparse, tasks):
    model, curve = fresh(sparse=sparse, tasks=tasks), []
    config = TrainingConfig.model_validate({"epochs": 30, "gradient_clip": 5, "optimiser": {"learning_rate": 0.1}})
    result = train(model, bce, samples, config, seed=0, log=lambda *point: curve.append(point))
    losses = [(value, epoch) for name, value, epoch in curve if name == "train/loss"]
    assert [epoch for _, epoch in losses] == list(range(1, 31))
    assert losses[-1][0] < 0.75 * losses[0][0]
    assert float(model.line.weight.detach()) == pytest.approx(3, abs=1)
    assert (result.epochs, result.best_epoch) == (30, 30)
    assert math.isnan(result.best)
    assert not model.training


def test_the_loss_logged_is_the_mean_of_the_steps(samples):
    # A learning rate this small changes nothing, so the mean over equal batches is the loss of all.
    config = TrainingConfig.model_validate({"epochs": 1, "health_every": 0, "optimiser": {"learning_rate": 1e-12}})
    model, curve = fresh(), []
    train(model, bce, samples, config, seed=0, log=lambda *point: curve.append(point[1]))
    expected = bce(torch.from_numpy(predict(model, samples)), torch.from_numpy(samples.labels))
    assert curve == [pytest.approx(float(expected), rel=1e-5)]


def test_same_seed_same_bytes(samples, quick):
    first, again, other = fresh(dropout=0.3), fresh(dropout=0.3), fresh(dropout=0.3)
    train(first, bce, samples, quick, seed=1, log=quiet)
    torch.rand(5)  # what is drawn outside must not matter
    train(again, bce, samples, quick, seed=1, log=quiet)
    train(other, bce, samples, quick, seed=2, log=quiet)
    assert weights(first) == weights(again)
    assert weights(first) != weights(other)


def test_draws_outside_go_on_as_if_nothing_had_been(samples, quick):
    torch.manual_seed(3)
    expected = torch.rand(2).tolist()
    torch.manual_seed(3)
    found = torch.rand(1).tolist()
    train(fresh(dropout=0.3), bce, samples, quick, seed=1, log=quiet)
    assert found + torch.rand(1).tolist() == expected


def run(samples, figures, **config):
    """Trains with these validation figures; gives the result, the curve, and the model after every epoch and now."""
    model, states, curve, left = fresh(), [], {}, iter(figures)

    def judge(found):
        assert not found.training
        assert not torch.is_grad_enabled()
        states.append(weights(found))
        return next(left)

    settings = TrainingConfig.model_validate({"epochs": len(figures), **config})
    result = train(
        model,
        bce,
        samples,
        settings,
        seed=0,
        log=lambda name, value, epoch: curve.update({(name, epoch): value}),
        validate=lambda found: {"auc": judge(found), "other": -1.0},
    )
    return result, curve, states, weights(model)


def test_keeps_the_best_epoch_and_stops_after_patience(samples):
    result, curve, states, kept = run(samples, [0.5, 0.8, 0.7, 0.8, 0.9], patience=2)
    assert (result.epochs, result.best_epoch, result.best) == (4, 2, 0.8)
    assert [curve["valid/auc", epoch] for epoch in (1, 2, 3, 4)] == [0.5, 0.8, 0.7, 0.8]
    assert ("valid/auc", 5) not in curve
    assert kept == states[1] != states[3]


def test_patience_zero_never_stops(samples):
    result, _, states, kept = run(samples, [0.9, 0.8, 0.7, 0.6], patience=0)
    assert (result.epochs, result.best_epoch, result.best) == (4, 1, 0.9)
    assert kept == states[0]


@pytest.mark.parametrize(
    ("figures", "best"), [([math.nan, 0.5, math.nan], 2), ([0.5, math.nan, math.nan], 1), ([math.nan, 0.1, 0.2], 3)]
)
def test_a_figure_that_is_no_number_is_never_the_best(samples, figures, best):
    result, _, states, kept = run(samples, figures, patience=0)
    assert result.best_epoch == best
    assert kept == states[best - 1]


def test_leaves_no_file_and_says_nothing(samples, quick, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    train(fresh(), bce, samples, quick, seed=0, log=quiet)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


class Recorder:
    """A source of equal batches whose model remembers its weights before every step."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return self.batches

    def epoch(self, rng):
        for _ in range(self.batches):
            yield Batch({"item.x": torch.ones(1, 1), "item.id": torch.ones(1, 1, dtype=torch.int64)}, *ONES)


ONES = (torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_learning_rate_follows_the_schedule_over_all_epochs(schedule, sparse):
    model, bias = fresh(sparse=sparse), []
    model.register_forward_pre_hook(lambda found, _: bias.append(float(found.line.bias.detach())))
    optimiser = {"kind": "adam", "learning_rate": 1e-3, "schedule": schedule}
    config = TrainingConfig.model_validate({"epochs": 4, "optimiser": optimiser})
    train(model, bce, Recorder(5), config, seed=0, log=quiet)
    steps = np.diff([*bias, float(model.line.bias.detach())])
    # The gradient hardly changes: a step of Adam is as long as the learning rate.
    share = np.ones(20) if schedule == "constant" else 0.5 * (1 + np.cos(np.pi * np.arange(20) / 20))
    np.testing.assert_allclose(steps, 1e-3 * share, rtol=0.01, atol=1e-6)


def test_a_large_gradient_is_clipped():
    model = fresh()
    with torch.no_grad():
        model.line.weight.fill_(-300.0)
    optimiser = {"kind": "adam", "learning_rate": 0.01}
    config = TrainingConfig.model_validate({"epochs": 1, "gradient_clip": 1e-3, "optimiser": optimiser})
    train(model, bce, Recorder(1), config, seed=0, log=quiet)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
    assert norm == pytest.approx(1e-3, rel=1e-3)


ADVICE = r"try a smaller optimiser\.learning_rate \(now {}\) or a gradient_clip$"
DIVERGED = r"^training diverged at epoch 1, step {}: the loss is {}, expected at most 10000; it begins in "


def test_a_number_that_is_none_in_the_inputs_points_at_the_inputs(samples, quick):
    samples.inputs["item.x"][40, 2] = np.nan
    expected = DIVERGED.format("[1-4]", "nan") + (
        r"input item\.x, where 1 of 64 values are not finite: look at the column it is made of$"
    )
    with pytest.raises(TrainingError, match=expected):
        train(fresh(), bce, samples, quick, seed=0, log=quiet)


def test_a_huge_learning_rate_is_caught_as_an_exploded_loss(samples):
    config = TrainingConfig.model_validate({"epochs": 2, "optimiser": {"learning_rate": 1e6}})
    expected = DIVERGED.format(2, r"\d[\d.e+]*") + (
        r"layer table, whose weights are \d[\d.e+]* on average; " + ADVICE.format(re.escape("1e+06"))
    )
    with pytest.raises(TrainingError, match=expected):
        train(fresh(), bce, samples, config, seed=0, log=quiet)


def test_a_weight_that_is_no_number_is_named(samples, quick):
    model = fresh()
    with torch.no_grad():
        model.line.bias.fill_(math.inf)
    expected = DIVERGED.format(1, r"\w+") + "layer line, whose bias is not finite; " + ADVICE.format("0.05")
    with pytest.raises(TrainingError, match=expected):
        train(model, bce, samples, quick, seed=0, log=quiet)


class Rooted(Model):
    """√0 is finite, its slope is not: the step that breaks the weights has a harmless loss."""

    def forward(self, inputs, mask=None):
        return super().forward(inputs) + (0 * self.line.weight).square().sqrt().sum()


def test_weights_broken_by_the_last_step_are_found_at_the_end_of_the_epoch(samples, quick):
    whole = Samples(samples.inputs, samples.labels, samples.mask, len(samples.labels))
    expected = r"^training diverged in epoch 1: line\.weight is not finite; " + ADVICE.format("0.05")
    with pytest.raises(TrainingError, match=expected):
        train(Rooted(), bce, whole, quick, seed=0, log=quiet)


def test_an_interrupt_stays_an_interrupt(samples, quick):
    def stopped(_):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(fresh(), bce, samples, quick, seed=0, log=quiet, validate=stopped)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_judge_is_passed_on(samples, quick):
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(fresh(), bce, samples, quick, seed=0, log=quiet, validate=broken)


@pytest.mark.parametrize("tasks", [False, True])
def test_predictions_are_the_scores_in_order(samples, tasks):
    model = fresh(tasks=tasks).eval()
    found = predict(model, samples)
    inputs = {name: torch.from_numpy(values) for name, values in samples.inputs.items()}
    expected = model(inputs).detach().reshape(64, 4).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
