"""Which weights decay, and which optimiser steps them."""

import pytest
import torch
from torch import nn

from recsys.features.batch import Field
from recsys.nn.embedding import EmbeddingCollection
from recsys.training.config import OptimiserConfig
from recsys.training.module import optimisers

USER, ITEM = Field("user.id", 5, 1, "user.id"), Field("item.id", 5, 1, "item.id")


class Model(nn.Module):
    def __init__(self, sparse):
        super().__init__()
        self.table = EmbeddingCollection([USER], 2, sparse=sparse)
        self.matrix = nn.Linear(2, 3)
        self.norm = nn.LayerNorm(3)
        self.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)


def decays(optimiser):
    return {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}


@pytest.mark.parametrize(("kind", "expected"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_matrices_and_tables_decay_and_vectors_do_not(kind, expected):
    model = Model(sparse=False)
    config = OptimiserConfig(kind=kind, learning_rate=0.5, weight_decay=0.1, embedding_weight_decay=0.2)
    (optimiser,) = optimisers(model, config)
    assert type(optimiser) is expected
    assert {group["lr"] for group in optimiser.param_groups} == {0.5}
    assert decays(optimiser) == {
        id(model.table.weight): 0.2,
        id(model.matrix.weight): 0.1,
        id(model.matrix.bias): 0.0,
        id(model.norm.weight): 0.0,
        id(model.norm.bias): 0.0,
    }


def test_large_tables_get_an_optimiser_of_their_own():
    model = Model(sparse=True)
    dense, sparse = optimisers(model, OptimiserConfig(learning_rate=0.5))
    assert isinstance(sparse, torch.optim.SparseAdam)
    assert [id(p) for group in sparse.param_groups for p in group["params"]] == [id(model.table.weight)]
    assert id(model.table.weight) not in decays(dense)


def test_only_large_tables_need_only_their_own():
    (only,) = optimisers(EmbeddingCollection([USER, ITEM], 2, sparse=True), OptimiserConfig())
    assert isinstance(only, torch.optim.SparseAdam)


def test_a_shared_weight_is_stepped_once():
    shared = nn.Linear(2, 2)
    (optimiser,) = optimisers(nn.Sequential(shared, shared), OptimiserConfig())
    assert sum(len(group["params"]) for group in optimiser.param_groups) == 2
