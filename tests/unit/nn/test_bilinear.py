"""Bilinear fusion against sums over all pairs of numbers."""

import pytest
import torch

from recsys.nn.bilinear import BilinearFusion


@pytest.mark.parametrize("heads", [1, 2])
def test_equals_the_sum_over_pairs_within_each_head(heads):
    fusion = BilinearFusion(4, 6, heads)
    for weight in fusion.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(weight.numel()))
    x, y = torch.randn(3, 2, 4), torch.randn(3, 2, 6)
    expected = x @ fusion.first + y @ fusion.second
    for head in range(heads):
        for i in range(4 // heads):
            for j in range(6 // heads):
                expected = expected + (
                    fusion.pairs[head, i, j] * x[..., head * 4 // heads + i] * y[..., head * 6 // heads + j]
                )
    torch.testing.assert_close(fusion(x, y), expected.unsqueeze(-1))


def test_starts_at_zero():
    assert not BilinearFusion(4, 6, 2)(torch.ones(5, 4), torch.ones(5, 6)).any()


@pytest.mark.parametrize("sizes", [(4, 3), (3, 4)])
def test_heads_that_do_not_divide_are_refused(sizes):
    expected = f"^2 heads do not divide vectors of {sizes[0]} and {sizes[1]}; expected a divisor of both$"
    with pytest.raises(ValueError, match=expected):
        BilinearFusion(*sizes, 2)
