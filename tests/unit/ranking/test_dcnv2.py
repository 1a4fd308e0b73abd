"""DCNv2 against its equations."""

import numpy as np
import pytest
from pydantic import ValidationError

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


def test_experts_have_the_rank_of_the_settings(drawn):
    layer = drawn(CONFIG.model_copy(update={"rank": 2, "experts": 3})).model.cross.layers[0]
    assert layer.core.shape == (3, 2, 2)


def test_experts_without_a_rank_are_refused():
    with pytest.raises(ValidationError, match="found 4 without a rank; set rank, such as 32, or leave one expert"):
        DCNv2Config(kind="dcnv2", experts=4)
