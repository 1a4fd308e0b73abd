"""Rankers of several tasks, recomputed from their papers."""

import numpy as np
import pytest
import torch

from recsys.ranking.base import select_inputs
from recsys.ranking.configs import ESMMConfig, MMoEConfig, PLEConfig, SharedBottomConfig
from recsys.ranking.registry import build_ranker
from recsys.release.export import random_inputs
from recsys.training.batches import Samples

SIZES = {"embedding_dim": 3, "embedding_dropout": 0.0, "dropout": 0.0, "hidden": (5, 4)}
TASKS = 3


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def split(layer, x):
    """A `SplitLinear` as the one layer that it stands for."""
    weight = np.concatenate([array(layer.request.weight), array(layer.candidate.weight)], axis=1)
    return x @ weight.T + (0 if layer.candidate.bias is None else array(layer.candidate.bias))


def each(layer, number, x):
    """One of a `ParallelLinear`."""
    return x @ array(layer.weight)[number] + array(layer.bias)[number]


def tower(model, task, x):
    *hidden, last = model.towers.layers
    for layer in hidden:
        x = relu(each(layer, task, x))
    return array(model.bias)[task] + each(last, task, x)[..., 0]


def expert(experts, number, x):
    """One of `Experts` with two layers."""
    width = experts.first.candidate.out_features // experts.count
    own = slice(number * width, (number + 1) * width)
    return relu(each(experts.rest.layers[0], number, relu(split(experts.first, x)[..., own])))


@pytest.fixture
def made(model_inputs):
    """`made(config)` gives a ranker with drawn weights, its inputs, and the same as one array `(B, C, K)`."""

    def make(config, tasks=TASKS):
        spec = select_inputs(model_inputs, config)
        torch.manual_seed(0)
        model = build_ranker(config, spec, tasks).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(std=0.5)
        inputs = random_inputs(spec.fields, spec.history_length, 2, 4, np.random.default_rng(0))
        inputs = {name: torch.from_numpy(values) for name, values in inputs.items()}
        request, candidate = map(array, model.inputs.flat(inputs))
        return model, inputs, np.concatenate([np.repeat(request[:, None], 4, axis=1), candidate], axis=-1)

    return make


def agrees(model, inputs, expected):
    np.testing.assert_allclose(array(model(inputs)), np.stack(expected, axis=-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tower_hidden", [(), (6,), (6, 5)])
def test_shared_bottom_is_one_network_and_a_tower_a_task(made, tower_hidden):
    model, inputs, x = made(SharedBottomConfig(kind="shared_bottom", **SIZES, tower_hidden=tower_hidden))
    last = model.bottom.layers[0]
    shared = relu(relu(split(model.bottom.first, x)) @ array(last.weight).T + array(last.bias))
    agrees(model, inputs, [tower(model, task, shared) for task in range(TASKS)])


def test_mmoe_mixes_experts_for_each_task(made):
    model, inputs, x = made(MMoEConfig(kind="mmoe", **SIZES, experts=2, tower_hidden=(6,)))
    given = [expert(model.experts, number, x) for number in range(2)]
    logits = split(model.gates, x)
    expected = []
    for task in range(TASKS):
        gate = softmax(logits[..., 2 * task : 2 * task + 2])
        expected.append(tower(model, task, sum(gate[..., [e]] * given[e] for e in range(2))))
    agrees(model, inputs, expected)


@pytest.mark.parametrize(("levels", "shared", "own"), [(1, 2, 1), (2, 1, 2), (3, 2, 2)])
def test_ple_extracts_level_by_level(made, levels, shared, own):
    config = PLEConfig(kind="ple", **SIZES, levels=levels, shared_experts=shared, task_experts=own, tower_hidden=(6,))
    model, inputs, x = made(config)
    owner = [task for task in range(TASKS) for _ in range(own)] + [TASKS] * shared
    count = len(owner)
    # A task's gate sees its own experts and the shared ones; the shared gate sees all (equations 5 to 7).
    allowed = [[e for e in range(count) if owner[e] in (task, TASKS)] for task in range(TASKS)] + [list(range(count))]
    read = []
    for level in range(levels):
        heads = TASKS + (level < levels - 1)
        if level == 0:
            gates = split(model.first_gates, x)
            logits = [gates[..., count * head : count * (head + 1)] for head in range(heads)]
            given = [expert(model.first, e, x) for e in range(count)]
        else:
            first, last = model.levels[level - 1].layers
            logits = [each(model.gates[level - 1], head, read[head]) for head in range(heads)]
            given = [relu(each(last, e, relu(each(first, e, read[owner[e]])))) for e in range(count)]
        read = [
            sum(softmax(gate[..., seen])[..., [n]] * given[e] for n, e in enumerate(seen))
            for seen, gate in zip(allowed, logits, strict=False)
        ]
    agrees(model, inputs, [tower(model, task, read[task]) for task in range(TASKS)])


def test_esmm_multiplies_click_and_conversion(made):
    model, inputs, x = made(ESMMConfig(kind="esmm", **SIZES), tasks=2)
    chances = []
    for number, part in enumerate((model.click, model.conversion)):
        h = relu(split(part.first, x))
        for layer in part.layers[:-1]:
            h = relu(h @ array(layer.weight).T + array(layer.bias))
        last = part.layers[-1]
        logit = array(model.bias)[number] + (h @ array(last.weight).T + array(last.bias))[..., 0]
        chances.append(1 / (1 + np.exp(-logit)))
    click, conversion = chances
    found = 1 / (1 + np.exp(-array(model(inputs))))
    np.testing.assert_allclose(found[..., 0], click, rtol=1e-4)
    np.testing.assert_allclose(found[..., 1], click * conversion, rtol=1e-4)


def test_esmm_never_says_that_a_conversion_is_likelier_than_its_click(made):
    model, inputs, _ = made(ESMMConfig(kind="esmm", **SIZES), tasks=2)
    with torch.no_grad():
        model.bias[:] = torch.tensor([-80.0, 80.0])
        found = model(inputs)
    assert torch.isfinite(found).all()
    assert (found[..., 1] <= found[..., 0]).all()


def test_esmm_starts_at_both_rates(made, model_inputs):
    model, inputs, _ = made(ESMMConfig(kind="esmm", **SIZES), tasks=2)
    labels = np.zeros((2, 4, 2), dtype=np.float32)
    labels[:, :2, 0], labels[:, 0, 1] = 1, 1  # half of all clicked, half of these converted
    samples = Samples({name: v.numpy() for name, v in inputs.items()}, labels, np.ones((2, 4), bool), 2)
    fresh = build_ranker(ESMMConfig(kind="esmm", **SIZES), model.spec, 2).eval()
    fresh.fit_inputs(samples)
    found = torch.sigmoid(fresh(inputs))
    torch.testing.assert_close(found, torch.tensor([0.5, 0.25]).expand(2, 4, 2), atol=1e-4, rtol=0)
