"""NFM against its equations."""

import itertools

import numpy as np

from recsys.ranking.configs import NFMConfig

CONFIG = NFMConfig(kind="nfm", embedding_dim=3, hidden=(5, 4), norm="none")


def pooled(fields):
    return sum(fields[:, :, i] * fields[:, :, j] for i, j in itertools.combinations(range(fields.shape[2]), 2))


def test_equals_equation_6(drawn, plain):
    found = drawn(CONFIG)
    expected = found.linear + plain(found.model.deep, pooled(found.fields))[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)


def test_pooled_pairs_are_normalised_first(drawn, plain, of):
    found = drawn(CONFIG.model_copy(update={"norm": "batch"}))
    norms = [found.model.norm, *(block.norm for block in found.model.deep.blocks)]
    for norm in norms:
        norm.running_mean.normal_()
        norm.running_variance.uniform_(0.5, 2)
    x = (pooled(found.fields) - of(norms[0].running_mean)) / np.sqrt(of(norms[0].running_variance) + 1e-5)
    deep = found.model.deep
    x = x @ of(deep.first.candidate.weight).T + of(deep.first.candidate.bias)
    for norm, layer in zip(norms[1:], deep.layers, strict=True):
        x = (x - of(norm.running_mean)) / np.sqrt(of(norm.running_variance) + 1e-5)
        x = np.maximum(x, 0) @ of(layer.weight).T + of(layer.bias)
    np.testing.assert_allclose(found.logits, found.linear + x[..., 0], rtol=1e-4, atol=1e-4)
