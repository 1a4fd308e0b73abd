"""How weights start: as torch's own functions draw them, on matrices put together by hand."""

import importlib

import pytest
import torch
from torch import nn

from recsys.features.batch import Field, InputSpec
from recsys.ranking.configs import MULTI_TASK, DeepFMConfig, FMConfig, MMoEConfig, PLEConfig, WideDeepConfig
from recsys.ranking.registry import RANKERS, build_ranker
from recsys.training.trainer import seeded

SPEC = InputSpec((Field("user.id", 30, 1, "user.id"), Field("item.id", 50, 1, "item.id"), Field("item.x", 0, 1, "")), 1)
NETWORK = {"embedding_dim": 4, "hidden": (12, 7)}
OURS = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "kaiming_uniform": lambda w: nn.init.kaiming_uniform_(w, mode="fan_in", nonlinearity="relu"),
    "kaiming_normal": lambda w: nn.init.kaiming_normal_(w, mode="fan_in", nonlinearity="relu"),
    "orthogonal": nn.init.orthogonal_,
    "normal": lambda w: nn.init.normal_(w, 0.0, 0.3),
}


def built(config, tasks=1, seed=5):
    with seeded(seed):
        return build_ranker(config, SPEC, tasks)


def drawn_after(config, tasks, kind, shapes, seed=5):
    """Matrices of these shapes as torch draws them where a ranker without an initialiser has been drawn."""
    with seeded(seed):
        build_ranker(config, SPEC, tasks)
        return [OURS[kind](torch.empty(shape)) for shape in shapes]


@pytest.mark.parametrize("kind", OURS)
def test_a_network_starts_as_torch_draws_it(kind):
    plain = DeepFMConfig(kind="deepfm", **NETWORK)
    config = plain.model_copy(update={"initialiser": kind, "initial_std": 0.3})
    first, second = drawn_after(plain, 1, kind, [(12, 9), (7, 12)])
    deep, before = built(config).deep, built(plain).deep
    # One matrix over the request's four numbers and the candidate's five.
    assert torch.equal(torch.cat([deep.first.request.weight, deep.first.candidate.weight], dim=1), first)
    assert torch.equal(deep.layers[0].weight, second)
    assert not deep.layers[1].weight.any()
    assert torch.equal(deep.first.candidate.bias, before.first.candidate.bias)


@pytest.mark.parametrize("kind", ["xavier_normal", "orthogonal"])
def test_every_expert_and_tower_has_a_matrix_of_its_own(kind):
    plain = MMoEConfig(kind="mmoe", **NETWORK, experts=3, tower_hidden=(5,))
    model = built(plain.model_copy(update={"initialiser": kind}), 2)
    shapes = [(12, 9)] * 3 + [(7, 12)] * 3 + [(5, 7)] * 2
    expected = drawn_after(plain, 2, kind, shapes)
    first = model.experts.first
    found = list(torch.cat([first.request.weight, first.candidate.weight], dim=1).chunk(3))
    found += [weight.T for weight in model.experts.rest.layers[0].weight]
    found += [weight.T for weight in model.towers.layers[0].weight]
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    ("config", "tasks"),
    [
        (DeepFMConfig(kind="deepfm", **NETWORK), 1),
        (WideDeepConfig(kind="widedeep", **NETWORK), 1),
        (PLEConfig(kind="ple", **NETWORK), 2),
        (FMConfig(kind="fm", embedding_dim=4), 1),
    ],
)
def test_the_defaults_change_nothing(config, tasks):
    build = importlib.import_module(RANKERS[config.kind]).build
    with seeded(5):
        bare = build(config, SPEC, tasks) if config.kind in MULTI_TASK else build(config, SPEC)
        after = torch.rand(1)
    with seeded(5):
        model = build_ranker(config, SPEC, tasks)
        assert torch.equal(torch.rand(1), after)
    assert all(torch.equal(values, bare.state_dict()[name]) for name, values in model.state_dict().items())


@pytest.mark.parametrize("kind", ["deepfm", "fm"])
def test_embeddings_are_as_large_as_asked(kind):
    config = (DeepFMConfig if kind == "deepfm" else FMConfig)(kind=kind, embedding_dim=64, embedding_std=0.2)
    tables, plain = built(config).inputs, built(config.model_copy(update={"embedding_std": 0.01})).inputs
    assert float(tables.embeddings.weight[1:].detach().std()) == pytest.approx(0.2, rel=0.05)
    assert not tables.embeddings.weight[0].any()
    torch.testing.assert_close(tables.embeddings.weight, 20 * plain.embeddings.weight)
    assert not built(config).first_order.weights.weight.any()
    if kind == "fm":
        torch.testing.assert_close(tables.candidate_vectors.weight, 20 * plain.candidate_vectors.weight)
