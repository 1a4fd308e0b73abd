"""xDeepFM against its equations."""

import itertools

import numpy as np
import pytest

from recsys.ranking.configs import XDeepFMConfig

CONFIG = XDeepFMConfig(kind="xdeepfm", embedding_dim=3, hidden=(5, 4), maps=(3, 2, 2))


def first_layer(interaction, of, request, count):
    """W `(H, N, N)` of the first layer: a pair's weight stands at i ≤ j, request pairs before the others."""
    pairs = itertools.combinations_with_replacement(range(count), 2)
    order = sorted(pairs, key=lambda pair: (pair[1] >= request, pair[0] >= request))
    flat = np.concatenate([of(interaction.own), of(interaction.mixed)], axis=1)
    weights = np.zeros((len(flat), count, count))
    for (i, j), column in zip(order, flat.T, strict=True):
        weights[:, i, j] = column
    return weights


@pytest.mark.parametrize("names", [(), ("item.item_id", "item.year"), ("user.group", "item.genres")])
def test_equals_equations_6_to_9(drawn, of, plain, names):
    found = drawn(CONFIG, *names)
    fields, interaction = found.fields, found.model.interaction
    request, count = found.model.inputs.field_counts[0], fields.shape[2]
    layers = [first_layer(interaction, of, request, count)]
    layers += [of(weight).reshape(len(weight), -1, count) for weight in interaction.deeper]
    x, pooled = fields, []
    for weights in layers:
        x = np.stack(
            [
                sum(
                    matrix[i, j] * x[:, :, i] * fields[:, :, j]
                    for i, j in itertools.product(range(matrix.shape[0]), range(count))
                )
                for matrix in weights
            ],
            axis=2,
        )
        pooled.append(x.sum(-1))
    explicit = np.concatenate(pooled, axis=-1) @ of(found.model.out)
    expected = found.linear + explicit + plain(found.model.deep, fields.reshape(3, 4, -1))[..., 0]
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
