"""FNN against its equations, and what is trained first."""

import numpy as np
import pytest
import torch

from recsys.ranking.configs import FMConfig, FNNConfig
from recsys.ranking.registry import build_ranker
from recsys.training.batches import Samples

CONFIG = FNNConfig(kind="fnn", embedding_dim=3, hidden=(5, 4))


def test_is_a_network_of_tanh_over_weights_and_vectors(drawn, of):
    found = drawn(CONFIG)
    fields, deep = found.fields, found.model.deep
    assert fields.shape == (3, 4, 8, 4)  # B, C, fields, weight and vector
    first = np.concatenate([of(deep.first.request.weight), of(deep.first.candidate.weight)], axis=1)
    x = fields.reshape(3, 4, 32) @ first.T + of(deep.first.candidate.bias)
    for layer in deep.layers:
        x = np.tanh(x) @ of(layer.weight).T + of(layer.bias)
    np.testing.assert_allclose(found.logits, of(found.model.bias) + x[..., 0], rtol=1e-4, atol=1e-4)


@pytest.fixture
def samples(drawn):
    """Labels that follow the sign of one vector's product with another: what a factorisation machine learns."""
    found = drawn(CONFIG, "user.group", "item.item_id")
    rng = np.random.default_rng(0)
    inputs = {"user.group": rng.integers(2, 6, 400), "item.item_id": rng.integers(2, 18, (400, 5))}
    labels = (inputs["user.group"][:, None] % 2 == inputs["item.item_id"] % 2).astype(np.float32)
    return found.model.spec, Samples(inputs, labels, np.ones(labels.shape, dtype=bool), 32)


def started(config, spec, samples):
    torch.manual_seed(0)
    model = build_ranker(config, spec)
    model.fit_inputs(samples)
    return model


def test_the_machine_is_trained_before_the_network(samples):
    spec, rows = samples
    model = started(CONFIG.model_copy(update={"pretrain_epochs": 8, "embedding_dropout": 0.0}), spec, rows)
    with torch.no_grad():
        request, candidate = model.inputs.fields({name: torch.from_numpy(v) for name, v in rows.inputs.items()})
    pairs = (request[:, :, None, 1:] * candidate[:, :, 0, 1:].unsqueeze(1)).sum(-1)[:, 0].numpy()
    assert pairs[rows.labels == 1].mean() > pairs[rows.labels == 0].mean() + 1
    assert float(model.bias.detach()) == pytest.approx(np.log(rows.labels.mean() / (1 - rows.labels.mean())), rel=1e-4)
    assert not model.deep.layers[-1].weight.any()


def test_without_pretraining_only_the_statistics_are_fitted(samples):
    spec, rows = samples
    model = started(CONFIG.model_copy(update={"pretrain_epochs": 0}), spec, rows)
    torch.manual_seed(0)
    assert torch.equal(model.inputs.embeddings.weight, build_ranker(CONFIG, spec).inputs.embeddings.weight)


def test_the_machine_inside_is_a_factorisation_machine(drawn):
    from recsys.ranking.fnn import _AsFM

    found = drawn(CONFIG)
    fm = build_ranker(FMConfig(kind="fm", embedding_dim=3), found.model.spec).eval()
    own, theirs = found.model.inputs, fm.inputs
    with torch.no_grad():
        fm.bias.copy_(found.model.bias)
        theirs.embeddings.weight.copy_(own.embeddings.weight[:, 1:])
        fm.first_order.weights.weight.copy_(own.embeddings.weight[:, :1])
        for side in ("request", "candidate"):
            both = getattr(own, f"{side}_vectors").weight
            getattr(theirs, f"{side}_vectors").weight.copy_(both[:, 1:])
            getattr(fm.first_order, f"{side}_numbers").copy_(both[:, 0])
    torch.testing.assert_close(_AsFM(found.model)(found.inputs), fm(found.inputs), rtol=1e-4, atol=1e-4)
