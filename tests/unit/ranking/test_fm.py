"""The factorisation machine against its equation."""

import itertools

import numpy as np

from recsys.ranking.configs import FMConfig

CONFIG = FMConfig(kind="fm", embedding_dim=3)


def test_equals_equation_1(drawn):
    found = drawn(CONFIG)
    pairs = sum(
        (found.fields[:, :, i] * found.fields[:, :, j]).sum(-1)
        for i, j in itertools.combinations(range(found.fields.shape[2]), 2)
    )
    np.testing.assert_allclose(found.logits, found.linear + pairs, rtol=1e-4, atol=1e-4)


def test_fields_are_categories_and_numbers_of_both_sides(drawn):
    found = drawn(CONFIG)
    request, candidate = found.model.inputs.fields(found.inputs)
    assert (request.shape[1], candidate.shape[2]) == found.model.inputs.field_counts == (4, 4)
    np.testing.assert_allclose(found.fields[:, 0, :4], request.detach(), rtol=1e-5)
    np.testing.assert_allclose(found.fields[:, :, 4:], candidate.detach(), rtol=1e-5)
