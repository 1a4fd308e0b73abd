"""DeepFM against its equations, on any mixture of inputs."""

import itertools

import numpy as np
import onnxruntime
import pytest

from recsys.features.batch import InputSpec
from recsys.losses.pointwise import bce
from recsys.ranking.configs import DeepFMConfig
from recsys.ranking.registry import build_ranker
from recsys.release.export import export_onnx, random_inputs
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import predict, train

CONFIG = DeepFMConfig(kind="deepfm", embedding_dim=3, hidden=(5,))


def subset(model_inputs, *names):
    return InputSpec(tuple(field for field in model_inputs.fields if field.name in names), 5)


def test_equals_equations_1_to_4(drawn, plain):
    found = drawn(CONFIG)
    request, candidate = found.vectors
    pairs = np.zeros(found.logits.shape)
    for b, c in np.ndindex(pairs.shape):
        vectors = [*request[b], *candidate[b, c]]
        pairs[b, c] = sum(v @ w for v, w in itertools.combinations(vectors, 2))
    expected = found.linear + pairs + plain(found.model.deep, found.flat)[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)


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
def test_exported_graphs_answer_without_a_kind_of_input(drawn, model_inputs, mixture, tmp_path):
    found = drawn(CONFIG, *MIXTURES[mixture], std=0.1)
    fields = subset(model_inputs, *MIXTURES[mixture]).fields
    export_onnx(found.model, fields, 5, tmp_path / "model.onnx", output="logits")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (answer,) = session.run(["logits"], {name: values.numpy() for name, values in found.inputs.items()})
    np.testing.assert_allclose(answer[..., 0], found.logits, rtol=1e-4, atol=1e-4)
