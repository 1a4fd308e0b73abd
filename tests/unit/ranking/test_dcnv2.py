"""DCNv2 against its equations."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import softmax

from recsys.ranking.configs import DCNv2Config

CONFIG = DCNv2Config(kind="dcnv2", embedding_dim=3, hidden=(5, 4), cross_layers=2)


def whole(layer, of):
    parts = [layer.candidate] if layer.request is None else [layer.request, layer.candidate]
    return np.concatenate([of(part.weight) for part in parts], axis=1)


def crossed(found, of):
    start = x = found.flat
    for layer in found.model.cross.layers:
        x = start * (x @ whole(layer, of).T + of(layer.candidate.bias)) + x
    return x


def test_parallel_is_crosses_beside_a_network(drawn, of, plain):
    found = drawn(CONFIG, std=0.1)
    read = crossed(found, of) @ of(found.model.out)
    expected = of(found.model.bias) + read + plain(found.model.deep, found.flat)[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)


def test_stacked_is_a_network_over_crosses(drawn, of, plain):
    found = drawn(CONFIG.model_copy(update={"structure": "stacked"}), std=0.1)
    expected = of(found.model.bias) + plain(found.model.deep, crossed(found, of))[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)


def test_a_rank_makes_the_matrices_of_two_thin_ones(drawn, of, plain):
    found = drawn(CONFIG.model_copy(update={"rank": 2}), std=0.1)
    start = x = found.flat
    for layer in found.model.cross.layers:
        assert of(layer.up.weight).shape == (start.shape[-1], 2)
        x = start * (x @ whole(layer.down, of).T @ of(layer.up.weight).T + of(layer.up.bias)) + x
    expected = of(found.model.bias) + x @ of(found.model.out) + plain(found.model.deep, start)[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)


def test_a_gate_mixes_low_ranks(drawn, of, plain):
    rank, experts = 2, 3
    found = drawn(CONFIG.model_copy(update={"rank": rank, "experts": experts}), std=0.3)
    start = x = found.flat
    for layer in found.model.cross.layers:
        shares = softmax(x @ whole(layer.gate, of).T, axis=-1)
        mixed = 0.0
        for expert in range(experts):
            rows = slice(rank * expert, rank * (expert + 1))
            low = np.tanh(x @ whole(layer.down, of)[rows].T)
            high = np.tanh(low @ of(layer.core)[expert].T) @ of(layer.up.weight)[:, rows].T + of(layer.up.bias)
            mixed = mixed + shares[..., [expert]] * start * high
        x = mixed + x
    expected = of(found.model.bias) + x @ of(found.model.out) + plain(found.model.deep, start)[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-3 * np.abs(expected).max())


def test_experts_without_a_rank_are_refused():
    with pytest.raises(ValidationError, match="found 4 without a rank; set rank, such as 32, or leave one expert"):
        DCNv2Config(kind="dcnv2", experts=4)
