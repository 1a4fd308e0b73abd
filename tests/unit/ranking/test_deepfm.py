"""DeepFM against its equations, on any mixture of inputs."""

import itertools

import numpy as np
import pytest
import torch

from recsys.features.batch import InputSpec
from recsys.losses.pointwise import bce
from recsys.ranking.base import select_inputs
from recsys.ranking.configs import DeepFMConfig
from recsys.ranking.registry import build_ranker
from recsys.release.export import export_onnx, random_inputs
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import predict, train

CONFIG = DeepFMConfig(kind="deepfm", embedding_dim=3, hidden=(5,))


def subset(model_inputs, *names):
    return InputSpec(tuple(field for field in model_inputs.fields if field.name in names), 5)


def tensors(spec, requests, candidates):
    inputs = random_inputs(spec.fields, spec.history_length, requests, candidates, np.random.default_rng(0))
    return {name: torch.from_numpy(values) for name, values in inputs.items()}


def test_equals_the_equations_candidate_by_candidate(model_inputs):
    torch.manual_seed(0)
    spec = select_inputs(model_inputs, CONFIG)
    model, inputs = build_ranker(CONFIG, spec).eval(), tensors(spec, 3, 4)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_()
        found = model(inputs)
        request, candidate = model.inputs.vectors(inputs)
        numbers = model.inputs.numbers(inputs)
        weights = model.first_order.weights
        for b, c in itertools.product(range(3), range(4)):
            vectors = [*request[b], *candidate[b, c]]
            pairs = sum(v @ w for v, w in itertools.combinations(vectors, 2))
            first = sum(weights({f.name: inputs[f.name][b]}, [f]).sum() for f in model.inputs.request)
            first += sum(weights({f.name: inputs[f.name][b, c]}, [f]).sum() for f in model.inputs.candidate)
            first += numbers[0][b] @ model.first_order.request_numbers
            first += numbers[1][b, c] @ model.first_order.candidate_numbers
            one = [torch.cat([request[b].flatten(), numbers[0][b]]).unsqueeze(0)]
            one.append(torch.cat([candidate[b, c].flatten(), numbers[1][b, c]]).reshape(1, 1, -1))
            expected = model.bias + first + pairs + model.deep(*one).squeeze()
            torch.testing.assert_close(found[b, c], expected, atol=1e-4, rtol=1e-4)


MIXTURES = {
    "one number": ("route.popular.rank",),
    "numbers only": ("user.age", "context.hour", "item.year"),
    "one index": ("item.item_id",),
    "indices only": ("user.group", "user.tags", "item.genres"),
    "index request, number candidate": ("user.group", "item.year"),
    "number request, index candidate": ("user.age", "item.genres"),
}


@pytest.mark.parametrize("names", MIXTURES.values(), ids=MIXTURES.keys())
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("candidates", [1, 3])
def test_trains_on_any_mixture_of_inputs(model_inputs, names, norm, candidates):
    spec = subset(model_inputs, *names)
    model = build_ranker(CONFIG.model_copy(update={"norm": norm}), spec)
    inputs = random_inputs(spec.fields, 5, 40, candidates, np.random.default_rng(0))
    labels = (np.random.default_rng(1).random((40, candidates)) < 0.4).astype(np.float32)
    samples = Samples(inputs, labels, np.ones(labels.shape, dtype=bool), 16)
    model.fit_inputs(samples)
    start = predict(model.eval(), samples)
    np.testing.assert_allclose(start, np.log(labels.mean() / (1 - labels.mean())), atol=1e-2)
    train(model, bce, samples, TrainingConfig(epochs=2), seed=0, log=lambda *_: None)
    assert not np.array_equal(predict(model, samples), start)


@pytest.mark.parametrize("mixture", ["numbers only", "one index"])
def test_exports_without_a_kind_of_input(model_inputs, mixture, tmp_path):
    spec = subset(model_inputs, *MIXTURES[mixture])
    torch.manual_seed(0)
    model = build_ranker(CONFIG, spec).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.1)
    export_onnx(model, spec.fields, 5, tmp_path / "model.onnx", output="logits")
