"""Losses of single candidates against scikit-learn, torch and arithmetic."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import log_loss, mean_squared_error

from recsys.losses.pointwise import bce, focal, mse


def test_equals_scikit_learn():
    rng = np.random.default_rng(0)
    scores, labels, weight = rng.normal(size=(5, 7)), rng.random((5, 7)) < 0.3, rng.random((5, 7))
    expected = log_loss(labels.ravel(), expit(scores.ravel()), sample_weight=weight.ravel())
    found = bce(torch.from_numpy(scores), torch.from_numpy(labels).double(), weight=torch.from_numpy(weight))
    assert float(found) == pytest.approx(expected)


def test_entries_are_logs_of_probabilities():
    scores = torch.tensor([[math.log(3.0), -math.log(3.0)]], dtype=torch.float64)  # probabilities 3/4 and 1/4
    found = bce(scores, torch.tensor([[1.0, 1.0]], dtype=torch.float64), reduction="none")
    assert found.tolist() == [pytest.approx([-math.log(3 / 4), -math.log(1 / 4)])]


def test_a_soft_label_is_best_met_by_its_log_odds():
    label = torch.tensor([[0.2]], dtype=torch.float64)
    score = torch.tensor([[math.log(0.2 / 0.8)]], dtype=torch.float64, requires_grad=True)
    bce(score, label).backward()
    assert float(score.grad) == pytest.approx(0, abs=1e-12)


def test_mean_is_over_the_weight_of_real_entries():
    scores = torch.zeros(1, 3)  # each costs log 2
    mask, weight = torch.tensor([[True, True, False]]), torch.tensor([[1.0, 3.0, 9.0]])
    labels = torch.ones(1, 3)
    each = bce(scores, labels, mask=mask, weight=weight, reduction="none")
    assert each.tolist() == [pytest.approx([math.log(2), 3 * math.log(2), 0.0])]
    assert float(bce(scores, labels, mask=mask, weight=weight)) == pytest.approx((1 + 3) * math.log(2) / (1 + 3))


def test_weighted_positives_are_torchs():
    scores, labels = torch.randn(3, 4), (torch.rand(3, 4) < 0.4).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels, pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(bce(scores, labels, positive_weight=3.0), expected)


def test_a_weighted_positive_multiplies_the_odds():
    score = torch.tensor([[math.log(3 * 0.2 / 0.8)]], dtype=torch.float64, requires_grad=True)
    bce(score, torch.tensor([[0.2]], dtype=torch.float64), positive_weight=3.0).backward()
    assert float(score.grad) == pytest.approx(0, abs=1e-12)


def test_smooth_labels_are_nearer_to_a_half():
    scores, labels = torch.randn(3, 4), (torch.rand(3, 4) < 0.4).float()
    soft = torch.where(labels > 0, 1 - 0.1 / 2, 0.1 / 2)
    torch.testing.assert_close(bce(scores, labels, label_smoothing=0.1), bce(scores, soft))


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, None)])
def test_focal_is_its_formula(gamma, alpha):
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(3, 5)), (rng.random((3, 5)) < 0.4).astype(float)
    true = np.where(labels > 0, expit(scores), 1 - expit(scores))
    balance = 1.0 if alpha is None else np.where(labels > 0, alpha, 1 - alpha)
    expected = -balance * (1 - true) ** gamma * np.log(true)
    found = focal(torch.from_numpy(scores), torch.from_numpy(labels), gamma=gamma, alpha=alpha, reduction="none")
    np.testing.assert_allclose(found.numpy(), expected)


def test_focal_without_focus_is_bce():
    scores, labels = torch.randn(3, 4), torch.rand(3, 4)
    torch.testing.assert_close(focal(scores, labels, gamma=0.0), bce(scores, labels))


def test_mse_is_scikit_learns():
    rng = np.random.default_rng(0)
    scores, labels, weight = rng.normal(size=(3, 5)), 5 * rng.random((3, 5)), rng.random((3, 5))
    expected = mean_squared_error(labels.ravel(), scores.ravel(), sample_weight=weight.ravel())
    found = mse(torch.from_numpy(scores), torch.from_numpy(labels), weight=torch.from_numpy(weight))
    assert float(found) == pytest.approx(expected)
