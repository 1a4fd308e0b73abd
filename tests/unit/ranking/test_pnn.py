"""PNN against its equations."""

import itertools

import numpy as np
import pytest

from recsys.ranking.configs import PNNConfig

CONFIG = PNNConfig(kind="pnn", embedding_dim=3, hidden=(5, 4))
REQUEST, ALL, D = 4, 8, 3


@pytest.mark.parametrize("product", ["inner", "outer", "both"])
def test_is_a_network_over_vectors_and_products(drawn, of, product):
    found = drawn(CONFIG.model_copy(update={"product": product}))
    fields, deep = found.fields, found.model.deep
    pairs = {(i, j): (fields[:, :, i] * fields[:, :, j]).sum(-1) for i, j in itertools.combinations(range(ALL), 2)}
    inner = [pairs[i, j] for i, j in pairs if j < REQUEST]
    mixed = [pairs[i, j] for i, j in pairs if i < REQUEST <= j] + [pairs[i, j] for i, j in pairs if i >= REQUEST]
    total = fields.sum(2)
    outer = [total[..., i] * total[..., j] for i in range(D) for j in range(i, D)]
    request = [*np.moveaxis(fields[:, :, :REQUEST].reshape(3, 4, -1), -1, 0)]
    candidate = [*np.moveaxis(fields[:, :, REQUEST:].reshape(3, 4, -1), -1, 0)]
    if product != "outer":
        request, candidate = [*request, *inner], [*candidate, *mixed]
    if product != "inner":
        candidate = [*candidate, *outer]
    weight = np.concatenate([of(deep.first.request.weight), of(deep.first.candidate.weight)], axis=1)
    x = np.stack([*request, *candidate], axis=-1) @ weight.T + of(deep.first.candidate.bias)
    for layer in deep.layers:
        x = np.maximum(x, 0) @ of(layer.weight).T + of(layer.bias)
    np.testing.assert_allclose(found.logits, of(found.model.bias) + x[..., 0], rtol=1e-4, atol=1e-4)
