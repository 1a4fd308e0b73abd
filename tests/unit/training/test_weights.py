"""Samples that count more than others."""

import numpy as np
import torch
from torch import nn

from recsys.losses.pointwise import bce
from recsys.training.batches import Samples, joined
from recsys.training.config import TrainingConfig
from recsys.training.trainer import seeded, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype(np.float32)
LABELS = (X + RNG.normal(size=X.shape) > 0).astype(np.float32)
SOME = RNG.random(X.shape) < 0.6
ALL = np.ones(X.shape, dtype=bool)


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, inputs, mask=None):
        return self.line(inputs["item.x"].unsqueeze(-1)).squeeze(-1)


def samples(mask, weight=None, labels=LABELS):
    return Samples({"item.x": X}, labels, mask, 8, weight)


def learned(given):
    with seeded(0):
        model = Line()
    train(model, bce, given, TrainingConfig(epochs=2), seed=0, log=lambda *_: None)
    return model.state_dict()


def test_what_counts_nothing_teaches_as_little_as_what_is_masked():
    weighted = learned(samples(ALL, SOME.astype(np.float32)))
    masked = learned(samples(SOME))
    assert all(torch.allclose(values, masked[name], atol=1e-6) for name, values in weighted.items())
    assert not torch.allclose(weighted["line.weight"], learned(samples(ALL))["line.weight"])


def test_joined_samples_without_weights_count_one():
    assert joined(samples(ALL), samples(SOME)).weight is None
    both = joined(samples(ALL, np.full(X.shape, 0.5, dtype=np.float32)), samples(SOME))
    np.testing.assert_array_equal(both.weight, np.concatenate([np.full(X.shape, 0.5), SOME]))
