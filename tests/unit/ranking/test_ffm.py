"""The field-aware factorisation machine against its equation."""

import itertools

import numpy as np

from recsys.ranking.configs import FFMConfig

CONFIG = FFMConfig(kind="ffm", embedding_dim=3)


def test_equals_equation_4(drawn):
    found = drawn(CONFIG)
    fields = found.fields.reshape(3, 4, 8, 8, 3)  # B, C, field, the field it meets, D
    pairs = sum((fields[:, :, i, j] * fields[:, :, j, i]).sum(-1) for i, j in itertools.combinations(range(8), 2))
    np.testing.assert_allclose(found.logits, found.linear + pairs, rtol=1e-4, atol=1e-4)
