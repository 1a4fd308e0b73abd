"""Losses that learn how much each task counts are trained, and go on, with the model."""

import numpy as np
import pytest
import torch
from torch import nn

from recsys.losses.pointwise import bce
from recsys.losses.tasks import TaskLosses
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import predict, seeded, train


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(1, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, inputs, mask=None):
        return self.out(torch.tanh(self.shared(inputs["item.x"].unsqueeze(-1))))


class DiesOnce:
    def __init__(self, at):
        self.left = at

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise ZeroDivisionError
        return bce(*args, **kwargs)


def samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype(np.float32)
    labels = np.stack([x > 0, x > 1.5], axis=-1).astype(np.float32)
    return Samples({"item.x": x}, labels, np.ones(x.shape, bool), 8)


def trained(balance, first=bce, folder=None):
    with seeded(0):
        model = Both()
    loss = TaskLosses([first, bce], [1.0, 1.0], balance, shared=lambda: list(model.shared.parameters()))
    config = TrainingConfig.model_validate({"epochs": 3, "checkpoint_minutes": 0, "optimiser": {"learning_rate": 0.05}})
    train(model, loss, samples(), config, seed=0, log=lambda *_: None, checkpoints=folder)
    return model.state_dict(), loss.state_dict(), model


@pytest.mark.parametrize(("balance", "moved"), [("uncertainty", "log_variance"), ("gradnorm", "weights")])
def test_how_much_a_task_counts_is_learned_and_goes_on_after_a_stop(tmp_path, balance, moved):
    model, loss, _ = trained(balance)
    assert not torch.equal(loss[moved], TaskLosses([bce, bce], [1.0, 1.0]).state_dict()[moved])
    with pytest.raises(ZeroDivisionError):
        trained(balance, DiesOnce(13), tmp_path)
    again, settled, _ = trained(balance, folder=tmp_path)
    assert all(torch.equal(values, again[name]) for name, values in model.items())
    assert all(torch.equal(values, settled[name]) for name, values in loss.items())


def test_predictions_are_of_every_task():
    _, _, model = trained("fixed")
    assert predict(model, samples()).shape == (64, 4, 2)
