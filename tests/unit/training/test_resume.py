"""A run that was killed goes on to the same weights as one that was not."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recsys.features.batch import Field, InputSpec
from recsys.losses.pointwise import bce
from recsys.nn.embedding import SPARSE_ROWS, EmbeddingCollection
from recsys.ranking.configs import DeepFMConfig
from recsys.ranking.registry import build_ranker
from recsys.training.batches import Samples
from recsys.training.checkpoint import Checkpoints
from recsys.training.config import TrainingConfig
from recsys.training.mining import HardNegatives
from recsys.training.trainer import predict, seeded, train

ITEM = Field("item.id", 6, 1, "item.id")
BATCHES = 5
RUNS = {
    "plain": {},
    "everything": {
        "gradient_clip": 0.5,
        "ema": 0.9,
        "accumulate": 2,
        "optimiser": {"kind": "nadam", "schedule": {"kind": "plateau", "warmup": 0.2}},
    },
    "mined": {},
    "deepfm": {
        "health_every": 2,
        "gradient_clip": 0.5,
        "ema": 0.9,
        "accumulate": 2,
        "optimiser": {"tables": "rowwise_adagrad", "embedding_weight_decay": 0.01, "schedule": "plateau"},
    },
    "momentum": {"optimiser": {"kind": "sgd", "momentum": 0.9, "tables": "rowwise_adagrad", "schedule": "one_cycle"}},
}


class Model(nn.Module):
    """Dropout, running statistics and a sparse table: all that has a state."""

    def __init__(self):
        super().__init__()
        self.table = EmbeddingCollection([ITEM], 4, sparse=True)
        self.net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))

    def forward(self, inputs, mask=None):
        x = torch.cat([self.table(inputs, [ITEM]).squeeze(-2), inputs["item.x"].unsqueeze(-1)], dim=-1)
        return self.net(x.flatten(0, 1)).reshape(x.shape[:2])


def deepfm():
    """The ranker as it is served, with dropout, and tables that are large enough for sparse gradients."""
    spec = InputSpec((Field("item.id", SPARSE_ROWS + 1, 1, "item.id"), Field("item.x", 0, 1, "")), 1)
    model = build_ranker(DeepFMConfig(kind="deepfm", embedding_dim=2, hidden=(8, 4), norm="batch"), spec)
    assert model.inputs.embeddings.sparse
    return model


def run(name, folder, *, die_at=0):
    """Trains three epochs; dies for good before a step. Gives the weights' hash, the result, the curve, steps here."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(72, 4)).astype(np.float32)
    labels = (rng.random(x.shape) < 1 / (1 + np.exp(-3 * x))).astype(np.float32)
    samples = Samples({"item.x": x, "item.id": rng.integers(1, 6, x.shape)}, labels, np.ones(x.shape, bool), 16)
    steps, curve = [], []

    def loss(scores, labels, *, mask=None):
        steps.append(1)
        if len(steps) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return bce(scores, labels, mask=mask)

    def figure(model):
        # Best in the second epoch.
        epoch = sum(name == "train/loss" for name, *_ in curve)
        return {"x": -abs(epoch - 2) + 1e-3 * float(predict(model, samples).mean())}

    config = TrainingConfig.model_validate({"epochs": 3, "checkpoint_minutes": 0, "patience": 0, **RUNS[name]})
    with seeded(7):
        model = deepfm() if name == "deepfm" else Model()
    log = lambda *point: curve.append(point)  # noqa: E731
    source = HardNegatives(samples, model, 1) if name == "mined" else samples
    result = train(model, loss, source, config, seed=3, log=log, validate=figure, checkpoints=folder)
    weights = b"".join(values.numpy().tobytes() for values in model.state_dict().values())
    return {
        "weights": hashlib.sha256(weights).hexdigest(),
        "result": [result.epochs, result.best_epoch, result.best],
        "curve": [list(point) for point in curve],
        "steps": len(steps),
    }


def elsewhere(name, folder, die_at):
    call = f"test_resume.run({name!r}, pathlib.Path({str(folder)!r}), die_at={die_at})"
    command = [sys.executable, "-c", f"import pathlib, test_resume; {call}"]
    return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "die_at"),
    [
        ("plain", 2),
        ("everything", BATCHES),
        ("everything", BATCHES + 1),
        ("everything", 2 * BATCHES + 4),
        ("deepfm", BATCHES + 4),
        ("momentum", BATCHES + 3),
        ("mined", BATCHES + 1),
        ("mined", BATCHES + 3),
    ],
)
def test_a_killed_run_ends_at_the_same_weights(name, die_at, tmp_path):
    killed = elsewhere(name, tmp_path, die_at)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    found, expected = run(name, tmp_path), run(name, None)
    every = RUNS[name].get("accumulate", 1)
    in_epoch = (die_at - 1) % BATCHES
    assert found.pop("steps") == 3 * BATCHES - (die_at - 1) + in_epoch % every
    assert found == {name: expected[name] for name in found}
    assert list(tmp_path.iterdir()) == []


def test_a_run_killed_twice_ends_at_the_same_weights(tmp_path):
    for die_at in (4, 5):
        assert elsewhere("plain", tmp_path, die_at).returncode == -signal.SIGKILL
    found = run("plain", tmp_path)
    assert found.pop("steps") == 3 * BATCHES - 3 - 4
    expected = run("plain", None)
    assert found == {name: expected[name] for name in found}


@pytest.mark.parametrize("damage", [b"", b"no checkpoint"])
def test_a_damaged_checkpoint_is_none(damage, tmp_path):
    (tmp_path / "training.pt").write_bytes(damage)
    assert run("plain", tmp_path) == run("plain", None)


def test_nothing_is_written_before_it_is_time(tmp_path):
    keeper = Checkpoints(tmp_path / "deep", minutes=60)
    assert not keeper.due
    assert keeper.load() is None
    keeper.clear()
    assert list(tmp_path.iterdir()) == []
    assert Checkpoints(tmp_path, minutes=0).due
