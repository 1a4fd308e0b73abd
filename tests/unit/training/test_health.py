"""Sick trainings are told from healthy ones, with the layer, the input or the table that ails."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from recsys.errors import TrainingError
from recsys.features.batch import Field, InputSpec
from recsys.losses.pointwise import bce
from recsys.nn.embedding import EmbeddingCollection
from recsys.ranking.configs import DeepFMConfig
from recsys.ranking.registry import build_ranker
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import seeded, train

ITEM, USER = Field("item.id", 41, 1, "item.id"), Field("item.user", 21, 1, "user.id")
SPEC = InputSpec((ITEM, USER, Field("item.x", 0, 1, ""), Field("item.y", 0, 1, "")), 1)


def samples(*, items=range(1, 41)):
    rng = np.random.default_rng(0)
    shape = (256, 4)
    x, y = rng.normal(size=(2, *shape)).astype(np.float32)
    labels = (rng.random(shape) < 1 / (1 + np.exp(-2 * x + y))).astype(np.float32)
    rows = {"item.id": rng.choice(list(items), shape), "item.user": rng.integers(1, 21, shape)}
    return Samples({"item.x": x, "item.y": y, **rows}, labels, np.ones(shape, bool), 16)


def deepfm(**settings):
    with seeded(3):
        return build_ranker(DeepFMConfig(kind="deepfm", **{"embedding_dim": 4, "hidden": (16, 8), **settings}), SPEC)


class Net(nn.Module):
    """A network of two numbers, sixteen wide, and a table."""

    def __init__(self, depth, activation, sparse=False):
        super().__init__()
        self.table = EmbeddingCollection([ITEM], 4, std=0.1, sparse=sparse)
        widths = [6, *[16] * depth]
        layers = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), activation())]
        self.net = nn.Sequential(*layers, nn.Linear(16, 1))

    def forward(self, inputs, mask=None):
        numbers = torch.stack([inputs["item.x"], inputs["item.y"]], dim=-1)
        return self.net(torch.cat([self.table(inputs, [ITEM]).squeeze(-2), numbers], dim=-1)).squeeze(-1)


def net(*args, **settings):
    with seeded(3):
        return Net(*args, **settings)


def trained(model, given=None, *, rate=0.003, loss=bce, **settings):
    """What is said, and the curves."""
    said, curve = [], {}
    config = {"epochs": 3, "health_every": 5, "optimiser": {"learning_rate": rate}, **settings}
    train(
        model,
        loss,
        samples() if given is None else given,
        TrainingConfig.model_validate(config),
        seed=0,
        log=lambda name, value, epoch: curve.update({(name, epoch): value}),
        say=said.append,
    )
    return said, curve


@pytest.mark.parametrize("activation", ["relu", "prelu", "sigmoid", "dice", "gelu"])
def test_a_healthy_training_says_nothing_and_draws_its_layers(activation):
    said, curve = trained(deepfm(activation=activation))
    assert said == []
    layers = {name.removeprefix("health/gradient/") for name, epoch in curve if name.startswith("health/gradient/")}
    network = {"deep.first.candidate", "deep.layers.0", "deep.layers.1"}
    assert layers == {"inputs.embeddings", "first_order.weights", *network}
    units = {"health/dead_units/deep.blocks.0", "health/dead_units/deep.blocks.1"}
    assert {name for name, _ in curve if "units" in name} == units
    assert all(1e-6 < value < 100 for (name, _), value in curve.items() if "gradient" in name)
    assert {curve["health/dead_rows/inputs.embeddings", epoch] for epoch in (1, 2, 3)} == {0.0}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_looking_changes_nothing(precision):
    looked, alone = deepfm(dropout=0.2), deepfm(dropout=0.2)
    trained(looked, trainer={"precision": precision})
    _, curve = trained(alone, health_every=0, trainer={"precision": precision})
    assert curve.keys() == {("train/loss", epoch) for epoch in (1, 2, 3)}
    assert all(torch.equal(values, alone.state_dict()[name]) for name, values in looked.state_dict().items())


def test_a_gradient_is_as_large_as_the_figure_says():
    model = net(1, nn.Tanh)
    batch = samples()
    with torch.no_grad():
        weight = float(model.net[0].weight.norm())
    whole = Samples(batch.inputs, batch.labels, batch.mask, 256)
    # So small a rate that the weights are those it began with.
    _, curve = trained(model, whole, rate=1e-12, epochs=1)
    inputs = {name: torch.from_numpy(values) for name, values in batch.inputs.items()}
    model.zero_grad()
    bce(model(inputs), torch.from_numpy(batch.labels)).backward()
    expected = float(model.net[0].weight.grad.norm()) / weight
    assert curve["health/gradient/net.0", 1] == pytest.approx(expected, rel=1e-4)
    numbers = torch.stack([inputs["item.x"], inputs["item.y"]], dim=-1)
    hidden = model.net[:2](torch.cat([model.table(inputs, [ITEM]).squeeze(-2), numbers], dim=-1))
    assert curve["health/size/net.1", 1] == pytest.approx(float(hidden.abs().mean().detach()), rel=1e-4)


def test_a_deep_network_of_sigmoids_with_tiny_weights_is_told_to_vanish_by_layer():
    model = net(8, nn.Sigmoid)
    with torch.no_grad():
        for layer in model.net[:-1]:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(0.02)
    said, curve = trained(model)
    assert len(said) == 1
    told = re.fullmatch(r"layers ([\w., ]+): gradients vanish \((\S+) of the weights; (\S+) in the layer .*", said[0])
    named = told[1].split(", ")
    assert {"table", "net.0", "net.2", "net.4"} <= set(named)
    assert not {"net.14", "net.16"} & set(named)
    # By the chain rule a layer's gradient is that of the one above, times the weights between and at most 1/4.
    first, third, last = (curve[f"health/gradient/net.{place}", 1] for place in (0, 4, 16))
    assert first < 1e-3 * third < 1e-6 * last


def test_units_that_always_give_zero_are_told_by_layer():
    model = net(2, nn.ReLU)
    with torch.no_grad():
        model.net[0].bias[:12] = -100.0
        model.net[0].bias[12:] = 5.0
    said, curve = trained(model)
    assert curve["health/dead_units/net.1", 1] == 12 / 16
    assert curve["health/dead_units/net.3", 1] <= 0.5
    assert [text for text in said if text.startswith("layer net.1")] == [
        "layer net.1: 75% of the units are dead, they give 0 whatever comes in; try a smaller "
        "optimiser.learning_rate, activation: prelu or norm: layer"
    ]


def test_padded_candidates_do_not_keep_a_unit_alive():
    given = samples()
    given.mask[:, 2:] = False
    given.inputs["item.x"][:, 2:] = 1e3
    model = deepfm(dropout=0.0)
    with torch.no_grad():
        model.deep.first.candidate.bias.fill_(-50.0)
    said, curve = trained(model, given)
    assert curve["health/dead_units/deep.blocks.0", 1] == 1.0
    assert any(re.match(r"layers? deep\.blocks\.0.*: 100% of the units are dead", text) for text in said)


def test_rows_that_start_at_zero_and_are_never_met_are_no_ill():
    said, curve = trained(deepfm(), samples(items=range(1, 11)))
    # Of 40 items ten are met, and all 20 users; in both tables, of which only the vectors are drawn.
    assert curve["health/dead_rows/first_order.weights", 3] == curve["health/dead_rows/inputs.embeddings", 3] == 0.5
    assert [text.partition(":")[0] for text in said] == ["layer inputs.embeddings"]
    assert ("health/zero_rows/first_order.weights", 3) not in curve


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_that_are_never_met_are_told_by_table(sparse):
    said, curve = trained(net(1, nn.Tanh, sparse=sparse), samples(items=range(1, 11)))
    # Of rows 1 to 40, ten are met.
    assert [curve["health/dead_rows/table", epoch] for epoch in (1, 2, 3)] == [0.75] * 3
    assert said == [
        "layer table: 75% of the rows of item.id are dead, they never had a gradient and stay as they were drawn; if "
        "such rare values are to learn, let them share a row: raise min_count of the feature"
    ]


def test_rows_that_became_zero_are_counted():
    model = net(1, nn.Tanh)
    with torch.no_grad():
        model.table.weight[1:11] = 0.0
    _, curve = trained(model, samples(items=range(11, 41)), epochs=1)
    assert curve["health/zero_rows/table", 1] == 0.25


def test_outputs_that_grow_are_told_before_the_loss_explodes():
    model = net(2, nn.ReLU)
    said, _ = trained(model, rate=5.0, epochs=1, max_loss=1e30)
    assert any(
        re.match(r"layers? [\w., ]*net\.\d[\w., ]*: outputs explode \(now \S+ on average", text) for text in said
    )


def test_a_steep_gradient_is_told_by_layer():
    def scaled(scores, labels, *, mask=None):
        return 1e6 * bce(scores, labels, mask=mask)

    said, _ = trained(net(1, nn.Tanh), rate=1e-12, loss=scaled, epochs=1, max_loss=1e30)
    assert any(re.match(r"layers? .*net\.2.*: gradients explode \(up to \S+ times the weights\); try", t) for t in said)


def test_a_diverging_loss_names_the_first_layer_that_exploded():
    model = net(3, nn.ReLU)
    with pytest.raises(
        TrainingError, match=r"epoch 1, step \d+: .*it begins in layer \S+, whose \w+ are \S+ on average;"
    ):
        trained(model, rate=1e4)


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_layer_that_breaks_is_named_and_not_those_after_it(place):
    model = net(2, nn.Tanh)
    with torch.no_grad():
        model.net[place].weight[0, 0] = math.nan
    with pytest.raises(
        TrainingError, match=rf"it begins in layer net\.{place}, whose weight is not finite; try a smaller"
    ):
        trained(model)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("item.y", "input item.y, where 1 of 64 values are not finite"),
        ("labels", "the labels, where 1 of 64 values are"),
    ],
)
def test_numbers_that_are_none_are_told_by_where_they_came_in(name, expected):
    given = samples()
    (given.labels if name == "labels" else given.inputs[name])[7, 1] = np.nan
    with pytest.raises(
        TrainingError, match=rf"it begins in {re.escape(expected)}.*: look at the column it is made of$"
    ):
        trained(net(1, nn.Tanh), given)
