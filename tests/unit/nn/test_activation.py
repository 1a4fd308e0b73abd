"""Activations against torch and the paper's formula."""

import typing

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from recsys.nn.activation import ACTIVATIONS, Dice, PReLU
from recsys.ranking.settings.base import Activation

X = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))


def test_prelu_equals_torch():
    ours, theirs = PReLU(3), torch.nn.PReLU(3)
    with torch.no_grad():
        slopes = torch.tensor([0.1, -0.5, 2.0])
        ours.slope.copy_(slopes)
        theirs.weight.copy_(slopes)
    torch.testing.assert_close(ours(X), theirs(X.movedim(-1, 1)).movedim(1, -1))


def test_there_is_one_for_every_name_of_the_settings():
    assert set(ACTIVATIONS) == set(typing.get_args(Activation))


FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: x * norm.cdf(x),
    "silu": lambda x: x * expit(x),
    "sigmoid": expit,
    "tanh": np.tanh,
}


def test_every_activation_without_weights_has_a_formula():
    assert set(FORMULAS) == set(ACTIVATIONS) - {"dice", "prelu"}


@pytest.mark.parametrize("name", FORMULAS)
def test_is_its_formula(name):
    np.testing.assert_allclose(ACTIVATIONS[name](3)(X), FORMULAS[name](X.numpy()), rtol=1e-5, atol=1e-7)


def test_dice_is_the_formula_of_the_paper():
    found = Dice(3)
    with torch.no_grad():
        found.slope.copy_(torch.tensor([0.0, 0.25, 1.0]))
    rows = X.flatten(0, 1)
    p = torch.sigmoid((rows - rows.mean(0)) / rows.std(0, correction=0))
    expected = p * rows + (1 - p) * found.slope * rows
    torch.testing.assert_close(found(X).flatten(0, 1), expected, atol=1e-4, rtol=1e-4)


def test_dice_ignores_padding_in_its_statistics():
    mask = torch.arange(4).expand(5, -1) < 3
    found = Dice(3)(torch.where(mask.unsqueeze(-1), X, -1e6), mask)
    torch.testing.assert_close(found[mask], Dice(3)(X[mask]))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_keeps_the_shape_and_in_evaluation_one_row_is_as_good_as_many(name):
    found = ACTIVATIONS[name](3).eval()
    assert found(X).shape == X.shape
    torch.testing.assert_close(found(X)[2, 1], found(X[2, 1]))
