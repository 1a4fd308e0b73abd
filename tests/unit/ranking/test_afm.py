"""AFM against its equations."""

import itertools

import numpy as np
from scipy.special import softmax

from recsys.ranking.configs import AFMConfig

CONFIG = AFMConfig(kind="afm", embedding_dim=3, attention_dim=5)


def test_equals_equation_6(drawn, of):
    found = drawn(CONFIG)
    model, fields = found.model, found.fields
    products = np.stack([fields[:, :, i] * fields[:, :, j] for i, j in itertools.combinations(range(8), 2)], axis=2)
    hidden = np.maximum(products @ of(model.attend[0].weight).T + of(model.attend[0].bias), 0)
    attention = softmax(hidden @ of(model.attend[2].weight)[0], axis=-1)
    pooled = (attention[..., None] * products).sum(2)
    np.testing.assert_allclose(found.logits, found.linear + pooled @ of(model.project), rtol=1e-4, atol=1e-4)


def test_without_a_pair_it_is_linear(drawn):
    found = drawn(CONFIG, "item.year")
    np.testing.assert_allclose(found.logits, found.linear, rtol=1e-6)
