"""DCN against its equations."""

import numpy as np

from recsys.ranking.configs import DCNConfig

CONFIG = DCNConfig(kind="dcn", embedding_dim=3, hidden=(5, 4), cross_layers=3)


def test_equals_equations_3_to_5(drawn, of, plain):
    found = drawn(CONFIG)
    cross, start = found.model.cross, found.flat
    weights, out = (
        np.concatenate([of(part.request.weight), of(part.candidate.weight)], axis=1)
        for part in (cross.products, cross.out)
    )
    x = start
    for weight, bias in zip(weights, of(cross.biases), strict=True):
        x = start * (x @ weight)[..., None] + bias + x
    expected = of(found.model.bias) + x @ out[0] + plain(found.model.deep, start)[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-3)
