"""Several processes that train one model together come to what one comes to that takes as many batches a step."""

import os
import pickle
import signal

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from recsys.errors import ConfigError, TrainingError
from recsys.features.batch import Field
from recsys.losses.config import LossConfig
from recsys.losses.pointwise import bce
from recsys.losses.registry import LOSSES, build_loss
from recsys.losses.tasks import TaskLosses
from recsys.nn.embedding import EmbeddingCollection
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.ranks import Ranks
from recsys.training.trainer import seeded, train

FIELDS = [Field("item.id", 40, 1, "item.id"), Field("item.kind", 6, 1, "item.kind")]
TWO = {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}


class Model(nn.Module):
    """A sparse table, a dense one, and layers; without dropout and batch statistics, which are each process's own."""

    def __init__(self):
        super().__init__()
        self.sparse = EmbeddingCollection(FIELDS[:1], 4, std=0.3, sparse=True)
        self.dense = EmbeddingCollection(FIELDS[1:], 4, std=0.3, sparse=False)
        self.net = nn.Sequential(nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, inputs, mask=None):
        parts = [self.sparse(inputs, FIELDS[:1]).squeeze(-2), self.dense(inputs, FIELDS[1:]).squeeze(-2)]
        return self.net(torch.cat([*parts, inputs["item.x"].unsqueeze(-1)], dim=-1)).squeeze(-1)


class Killed(Model):
    """The second process is killed, like one that the system has no memory for, before its fifth batch."""

    def __init__(self):
        super().__init__()
        self.at_home, self.calls = os.getpid(), 0

    def forward(self, inputs, mask=None):
        self.calls += 1
        if os.getpid() != self.at_home and self.calls == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(inputs, mask)


class Trap(Model):
    """The second process meets a number that is none."""

    def __init__(self):
        super().__init__()
        self.at_home = os.getpid()

    def forward(self, inputs, mask=None):
        wrong = torch.nan if os.getpid() != self.at_home else 1.0
        return super().forward(inputs, mask) * wrong


def samples(groups=96):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(groups, 3)).astype(np.float32)
    item, kind = rng.integers(1, 40, x.shape), rng.integers(1, 6, x.shape)
    labels = (rng.random(x.shape) < 1 / (1 + np.exp(-2 * x - (item % 3) + 1))).astype(np.float32)
    return Samples({"item.x": x, "item.id": item, "item.kind": kind}, labels, np.ones(x.shape, bool), 8)


def trained(trainer, *, model=Model, loss=bce, given=None, folder=None, validate=None, log=lambda *_: None, **settings):
    with seeded(7):
        found = model()
    options = {"epochs": 3, "gradient_clip": 1.0, "ema": 0.5, "patience": 2, "trainer": trainer, **settings}
    options["optimiser"] = {"kind": "adamw", "learning_rate": 0.03, "schedule": {"kind": "plateau", "patience": 0}}
    config = TrainingConfig.model_validate(options)
    given = samples() if given is None else given
    result = train(found, loss, given, config, seed=3, log=log, validate=validate, checkpoints=folder)
    return found, result


@pytest.fixture(scope="module")
def two():
    """A run of two processes: its model, how it went, and its curve."""
    return judged(TWO)


def judged(trainer, **settings):
    """Figures fall from the first epoch on: the rate goes down after the second, and training stops after the third."""
    figures, curve = [], {}

    def judge(model):
        figures.append(-len(figures))
        return {"x": figures[-1]}

    log = lambda name, value, epoch: curve.update({(name, epoch): value})  # noqa: E731
    return *trained(trainer, epochs=5, validate=judge, log=log, **settings), curve


def test_two_come_to_what_one_comes_to_with_two_batches_a_step(two):
    one = judged({"accelerator": "cpu"}, accumulate=2)
    assert (one[1].epochs, one[1].best_epoch) == (two[1].epochs, two[1].best_epoch) == (3, 1)
    for name, values in one[0].state_dict().items():
        torch.testing.assert_close(values, two[0].state_dict()[name], rtol=1e-5, atol=1e-6)
    for epoch in (1, 2, 3):
        assert one[2]["train/loss", epoch] == pytest.approx(two[2]["train/loss", epoch], rel=1e-5)
        for name in ("dead_rows/sparse", "dead_rows/dense", "zero_rows/sparse"):
            assert one[2][f"health/{name}", epoch] == two[2][f"health/{name}", epoch]


def test_a_process_that_is_killed_ends_the_run_which_goes_on_to_the_same_weights(tmp_path, two):
    settings = {"folder": tmp_path, "checkpoint_minutes": 0}
    with pytest.raises(
        TrainingError, match="process of device 2 of 2 ended with code -9; if it was killed for its mem"
    ):
        judged(TWO, model=Killed, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]
    again = judged(TWO, **settings)
    assert list(tmp_path.iterdir()) == []
    assert again[1:] == two[1:]
    assert all(torch.equal(values, again[0].state_dict()[name]) for name, values in two[0].state_dict().items())


def test_a_loss_that_is_none_in_another_process_ends_all_with_its_layer():
    with pytest.raises(
        TrainingError, match=r"epoch 1, step 1: the loss is nan, .* it begins in layer output, whose out"
    ):
        trained(TWO, model=Trap)


def test_what_cannot_be_sent_to_another_process_is_told():
    with pytest.raises(ConfigError, match=r"^training\.trainer\.devices: several devices need .*; use devices: 1$"):
        trained(TWO, loss=lambda scores, labels, mask=None: bce(scores, labels))


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_can_be_sent(kind):
    config = TypeAdapter(LossConfig).validate_python(f"bce + 0.1 * {kind}")
    loss = TaskLosses([build_loss(config)] * 2, [1.0, 2.0], "uncertainty")
    scores, labels = torch.randn(3, 4, 2), torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 4, 1).expand(3, 4, 2)
    assert torch.equal(pickle.loads(pickle.dumps(loss))(scores, labels), loss(scores, labels))


def test_more_devices_than_batches_are_refused():
    expected = "^training: found 1 batches an epoch for 2 devices, .* at least one batch a device; use fewer devices"
    with pytest.raises(ConfigError, match=expected):
        trained(TWO, given=samples(groups=8))


def test_several_clocks_are_refused():
    with pytest.raises(ConfigError, match="max_time: found it with 2 devices, whose clocks differ; set max_steps"):
        trained({**TWO, "max_time": {"hours": 1}})


def test_a_process_by_itself_agrees_with_itself():
    alone = Ranks()
    assert (alone.any(True), alone.mean(0.5), alone.first("x"), alone.gather(3)) == (True, 0.5, "x", [3])
