"""Interactions against every pair."""

import itertools

import pytest
import torch

from recsys.nn.interaction import bi_interaction, field_aware, field_weighted, pair_products, second_order, together

FIELDS = pytest.mark.parametrize(("request_fields", "candidate_fields"), [(3, 2), (0, 4), (2, 0), (1, 1), (0, 1)])


def sides(request_fields, candidate_fields, *shape):
    """Vectors of B = 4 requests with C = 3 candidates, and of all fields together `(B, C, N, …)`."""
    generator = torch.Generator().manual_seed(0)
    request = torch.randn(4, request_fields, *shape, generator=generator, dtype=torch.float64)
    candidate = torch.randn(4, 3, candidate_fields, *shape, generator=generator, dtype=torch.float64)
    every = torch.stack([torch.cat([request, candidate[:, c]], dim=1) for c in range(3)], dim=1)
    return request, candidate, every


def pairs(count):
    return itertools.combinations(range(count), 2)


@FIELDS
def test_together_puts_the_request_first(request_fields, candidate_fields):
    request, candidate, every = sides(request_fields, candidate_fields, 5)
    assert torch.equal(together(request, candidate), every)


@FIELDS
def test_pooled_pairs_equal_the_sum_over_all_pairs(request_fields, candidate_fields):
    request, candidate, every = sides(request_fields, candidate_fields, 5)
    expected = torch.zeros(4, 3, 5, dtype=torch.float64)
    for i, j in pairs(every.shape[2]):
        expected += every[:, :, i] * every[:, :, j]
    torch.testing.assert_close(bi_interaction(request, candidate), expected)
    torch.testing.assert_close(second_order(request, candidate), expected.sum(-1))


@FIELDS
def test_weighted_pairs_equal_the_sum_over_all_pairs(request_fields, candidate_fields):
    request, candidate, every = sides(request_fields, candidate_fields, 5)
    count = request_fields + candidate_fields
    weights = torch.randn(count, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for i, j in pairs(count):
        expected += weights[i, j] * (every[:, :, i] * every[:, :, j]).sum(-1)
    torch.testing.assert_close(field_weighted(request, candidate, weights), expected)


@FIELDS
def test_field_aware_pairs_equal_the_sum_over_all_pairs(request_fields, candidate_fields):
    count = request_fields + candidate_fields
    request, candidate, every = sides(request_fields, candidate_fields, count, 5)
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for i, j in pairs(count):
        expected += (every[:, :, i, j] * every[:, :, j, i]).sum(-1)
    torch.testing.assert_close(field_aware(request, candidate), expected)


@FIELDS
def test_products_are_those_of_all_pairs_with_the_request_apart(request_fields, candidate_fields):
    request, candidate, every = sides(request_fields, candidate_fields, 5)
    own, mixed = pair_products(request, candidate)
    assert own.shape == (4, len(list(pairs(request_fields))), 5)
    found = torch.cat([own.unsqueeze(1).expand(-1, 3, -1, -1), mixed], dim=2)
    both = pairs(request_fields + candidate_fields)
    order = sorted(both, key=lambda pair: (pair[1] >= request_fields, pair[0] >= request_fields))
    expected = [every[:, :, i] * every[:, :, j] for i, j in order]
    assert found.shape[2] == len(expected)
    for position, product in enumerate(expected):
        torch.testing.assert_close(found[:, :, position], product)


@FIELDS
def test_squares_are_among_the_products_when_asked_for(request_fields, candidate_fields):
    request, candidate, every = sides(request_fields, candidate_fields, 5)
    own, mixed = pair_products(request, candidate, squares=True)
    found = torch.cat([own.unsqueeze(1).expand(-1, 3, -1, -1), mixed], dim=2)
    both = itertools.combinations_with_replacement(range(request_fields + candidate_fields), 2)
    order = sorted(both, key=lambda pair: (pair[1] >= request_fields, pair[0] >= request_fields))
    expected = torch.stack([every[:, :, i] * every[:, :, j] for i, j in order], dim=2)
    torch.testing.assert_close(found, expected)
