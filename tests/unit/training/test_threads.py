"""Several threads add up in a fixed order: the same seed, the same bytes.

On a busy machine threads take turns, and sums come out alike by luck: so it is also asked whether torch was told.
"""

import numpy as np
import pytest
import torch
from torch import nn

from recsys.losses.pointwise import bce
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import seeded, train

GROUPS, CANDIDATES, WIDTH, ROWS = 256, 50, 32, 5


class Model(nn.Module):
    """Looks vectors up by indexing, as two-towers do their histories: many places share a row."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(ROWS, WIDTH))

    def forward(self, inputs, mask=None):
        self.ordered = torch.are_deterministic_algorithms_enabled()
        return self.vectors[inputs["item.row"]].square().sum(-1)


def trained(**trainer):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, ROWS, (GROUPS, CANDIDATES))
    samples = Samples({"item.row": rows}, (rows % 3 == 0).astype(np.float32), np.ones(rows.shape, bool), GROUPS)
    config = TrainingConfig.model_validate({"epochs": 3, "threads": 2, "trainer": trainer})
    with seeded(0):
        model = Model()
    train(model, bce, samples, config, seed=0, log=lambda *_: None)
    return model


def test_the_same_seed_gives_the_same_bytes_on_two_threads():
    models = [trained() for _ in range(3)]
    assert all(model.ordered for model in models)
    assert len({model.vectors.detach().numpy().tobytes() for model in models}) == 1


@pytest.mark.parametrize("given", [True, False])
def test_a_training_leaves_torch_as_it_was(given):
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    assert trained(deterministic=given).ordered is given
    trained()
    assert before == (torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory)
