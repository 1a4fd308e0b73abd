"""Second-order interactions against every pair."""

import itertools

import pytest
import torch

from recsys.nn.interaction import second_order


@pytest.mark.parametrize(("request_fields", "candidate_fields"), [(3, 2), (0, 4), (2, 0), (1, 1), (0, 1)])
def test_equals_the_sum_over_all_pairs(request_fields, candidate_fields):
    generator = torch.Generator().manual_seed(0)
    request = torch.randn(4, request_fields, 5, generator=generator, dtype=torch.float64)
    candidate = torch.randn(4, 3, candidate_fields, 5, generator=generator, dtype=torch.float64)
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for b, c in itertools.product(range(4), range(3)):
        vectors = [*request[b], *candidate[b, c]]
        expected[b, c] = sum(float(v @ w) for v, w in itertools.combinations(vectors, 2))
    torch.testing.assert_close(second_order(request, candidate), expected)
