"""Binary cross-entropy against scikit-learn and arithmetic."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import log_loss

from recsys.losses.pointwise import bce


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
