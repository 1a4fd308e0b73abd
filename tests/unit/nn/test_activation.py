"""Activations against torch and the paper's formula."""

import pytest
import torch

from recsys.nn.activation import ACTIVATIONS, Dice, PReLU

X = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))


def test_prelu_equals_torch():
    ours, theirs = PReLU(3), torch.nn.PReLU(3)
    with torch.no_grad():
        slopes = torch.tensor([0.1, -0.5, 2.0])
        ours.slope.copy_(slopes)
        theirs.weight.copy_(slopes)
    torch.testing.assert_close(ours(X), theirs(X.movedim(-1, 1)).movedim(1, -1))


def test_relu_equals_torch():
    assert torch.equal(ACTIVATIONS["relu"](3)(X), torch.relu(X))


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
