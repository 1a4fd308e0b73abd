"""Dropout by its definition; torch's own is the oracle for what masks have in common."""

import pytest
import torch

from recsys.nn.dropout import Dropout

RATES = (0.05, 0.1, 0.4, 0.9)


def dropped(rate, *shape, seed=0):
    layer = Dropout(rate)
    torch.manual_seed(seed)
    return layer(torch.ones(shape))


@pytest.mark.parametrize("rate", RATES)
def test_numbers_are_zero_or_scaled_so_that_their_mean_stays(rate):
    found = dropped(rate, 100, 1001)
    kept = found[found != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)), rtol=1e-3, atol=0)
    # Five standard deviations of a share of that many.
    assert abs(float((found == 0).float().mean()) - rate) < 5 * (rate * (1 - rate) / found.numel()) ** 0.5 + 2**-16


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (0, 4)])
def test_neighbours_are_dropped_independently(shift):
    gone = (dropped(0.5, 400, 400) == 0).float() - 0.5
    product = float((gone * gone.roll(shift, (0, 1))).mean())
    assert abs(product) < 5 * 0.25 / 400


def test_every_call_draws_anew_and_the_same_from_the_same_seed():
    layer = Dropout(0.5)
    torch.manual_seed(3)
    first, second = layer(torch.ones(999)), layer(torch.ones(999))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(first, layer(torch.ones(999)))
    assert torch.equal(second, layer(torch.ones(999)))


def test_gradients_pass_where_numbers_do():
    x = torch.ones(50, 3, requires_grad=True)
    found = Dropout(0.3)(x)
    found.sum().backward()
    assert torch.equal(x.grad, found.detach())


@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_extreme_rates_and_evaluation_are_those_of_torch(rate, training):
    x = torch.randn(64)
    found, expected = (kind(rate).train(training)(x) for kind in (Dropout, torch.nn.Dropout))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_type_stays(dtype):
    assert Dropout(0.5)(torch.ones(8, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (3, 5)])
def test_any_shape(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape
