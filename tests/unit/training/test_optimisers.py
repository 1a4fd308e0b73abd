"""Which weights decay, which optimiser steps them, and gradients clipped together."""

import math
from typing import get_args

import pytest
import torch
from torch import nn

from recsys.features.batch import Field
from recsys.nn.embedding import EmbeddingCollection
from recsys.training.config import OptimiserConfig
from recsys.training.optimisers import clip_gradients, optimiser_of
from recsys.training.rows import RowOptimiser

USER, ITEM = Field("user.id", 5, 1, "user.id"), Field("item.id", 5, 1, "item.id")
DENSE = {
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
}


class Model(nn.Module):
    def __init__(self, sparse):
        super().__init__()
        self.table = EmbeddingCollection([USER], 2, sparse=sparse)
        self.matrix = nn.Linear(2, 3)
        self.norm = nn.LayerNorm(3)
        self.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)

    def forward(self, rows):
        return self.norm(self.matrix(self.table({"user.id": rows}, [USER]).squeeze(-2))).square().sum()


def decays(optimiser, what="weight_decay"):
    return {id(p): group[what] for group in optimiser.param_groups for p in group["params"]}


@pytest.mark.parametrize("kind", DENSE)
def test_matrices_and_tables_decay_and_vectors_do_not(kind):
    model = Model(sparse=False)
    penalties = {"weight_decay": 0.1, "embedding_weight_decay": 0.2, "l1": 0.3, "embedding_l1": 0.4}
    optimiser = optimiser_of(model, OptimiserConfig(kind=kind, learning_rate=0.5, **penalties))
    assert [type(part) for part in optimiser.parts] == [DENSE[kind]]
    assert {group["lr"] for group in optimiser.param_groups} == {0.5}
    vectors = [model.matrix.bias, model.norm.weight, model.norm.bias]
    for what, matrix, table in (("weight_decay", 0.1, 0.2), ("l1", 0.3, 0.4)):
        expected = {id(model.table.weight): table, id(model.matrix.weight): matrix}
        assert decays(optimiser, what) == expected | dict.fromkeys(map(id, vectors), 0.0)


@pytest.mark.parametrize("kind", DENSE)
def test_large_tables_get_an_optimiser_of_their_own(kind):
    model = Model(sparse=True)
    optimiser = optimiser_of(model, OptimiserConfig(kind=kind, learning_rate=0.5, embedding_weight_decay=0.1))
    dense, rows = optimiser.parts
    assert isinstance(rows, RowOptimiser)
    assert decays(rows) == {id(model.table.weight): 0.1}
    assert id(model.table.weight) not in decays(dense)
    before = {name: values.detach().clone() for name, values in model.named_parameters()}
    assert float(optimiser.step(lambda: backward(model))) > 0
    changed = {name for name, values in model.named_parameters() if not torch.equal(values, before[name])}
    assert changed == set(before) - {"frozen"}


@pytest.mark.parametrize("tables", get_args(OptimiserConfig.model_fields["tables"].annotation))
@pytest.mark.parametrize("kind", DENSE)
def test_every_optimiser_goes_down_with_every_one_of_large_tables(kind, tables):
    torch.manual_seed(0)
    table, line = EmbeddingCollection([USER], 4, std=0.5, sparse=True), nn.Linear(4, 1)
    optimiser = optimiser_of(
        nn.ModuleList([table, line]), OptimiserConfig(kind=kind, tables=tables, learning_rate=0.05)
    )
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (
            (line(table({"user.id": torch.tensor([1, 2, 3])}, [USER]).squeeze(-2)).squeeze(-1) - TARGETS)
            .square()
            .mean()
        )
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    # Adadelta's own steps are tiny at first, whatever the learning rate.
    assert losses[-1] < (0.95 if kind == "adadelta" else 0.5) * losses[0]


TARGETS = torch.tensor([1.0, -1.0, 0.5])


def backward(model):
    loss = model(torch.tensor([[2, 3]]))
    loss.backward()
    return loss.detach()


def test_only_large_tables_need_only_their_own():
    optimiser = optimiser_of(EmbeddingCollection([USER, ITEM], 2, sparse=True), OptimiserConfig())
    assert [type(part) for part in optimiser.parts] == [RowOptimiser]


def test_a_shared_weight_is_stepped_once():
    shared = nn.Linear(2, 2)
    optimiser = optimiser_of(nn.Sequential(shared, shared), OptimiserConfig())
    assert sum(len(group["params"]) for group in optimiser.param_groups) == 2


def test_momentum_and_nesterov_reach_the_optimiser():
    given = {"kind": "sgd", "momentum": 0.9, "nesterov": True}
    (group,) = optimiser_of(nn.Linear(2, 1), OptimiserConfig(**given)).parts[0].param_groups[:1]
    assert (group["momentum"], group["nesterov"]) == (0.9, True)
    (group,) = optimiser_of(nn.Linear(2, 1), OptimiserConfig(kind="rmsprop", momentum=0.8)).parts[0].param_groups[:1]
    assert group["momentum"] == 0.8


def test_l1_pulls_every_weight_by_as_much():
    line = nn.Linear(3, 1)
    optimiser = optimiser_of(line, OptimiserConfig(kind="sgd", learning_rate=0.5, l1=0.1))
    before = line.weight.detach().clone()
    line.weight.grad, line.bias.grad = torch.zeros(1, 3), torch.zeros(1)
    optimiser.step()
    torch.testing.assert_close(line.weight.detach(), before - 0.5 * 0.1 * before.sign())


def test_a_rate_that_is_set_is_set_in_every_part_after_a_restart_too():
    model = Model(sparse=True)
    optimiser = optimiser_of(model, OptimiserConfig(kind="sgd"))
    backward(model)
    optimiser.step()
    other = optimiser_of(model, OptimiserConfig(kind="sgd"))
    other.load_state_dict(optimiser.state_dict())
    for group in other.param_groups:
        group["lr"] = 0.0
    before = model.table.weight.detach().clone()
    other.step()
    assert torch.equal(model.table.weight, before)


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_clipped_together(sparse):
    model = Model(sparse=sparse)
    backward(model)
    # Row 2 twice: its gradient is the sum of both.
    model(torch.tensor([[2, 2]])).backward()
    dense = [p.grad.to_dense().clone() for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in dense))
    assert clip_gradients(list(model.parameters()), 2 * norm) == pytest.approx(norm, rel=1e-5)
    assert clip_gradients(list(model.parameters()), norm / 10) == pytest.approx(norm, rel=1e-5)
    after = [p.grad.to_dense() for p in model.parameters() if p.grad is not None]
    for found, given in zip(after, dense, strict=True):
        torch.testing.assert_close(found, given / 10, rtol=1e-4, atol=1e-7)
