"""Softmax cross-entropy against scipy and arithmetic."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from recsys.losses.listwise import softmax_cross_entropy


def test_equals_scipy():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(5, 7)), (rng.random((5, 7)) < 0.3).astype(float)
    expected = -(labels * log_softmax(scores, axis=1)).sum() / labels.sum()
    assert float(softmax_cross_entropy(torch.from_numpy(scores), torch.from_numpy(labels))) == pytest.approx(expected)


def test_equals_torch_for_one_positive_a_request():
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(4))
    torch.testing.assert_close(softmax_cross_entropy(scores, torch.eye(4)), expected)


def test_masked_candidates_do_not_compete():
    scores, labels = torch.zeros(1, 5), torch.tensor([[1.0, 0, 0, 0, 0]])
    mask = torch.tensor([[True, True, False, False, False]])
    assert float(softmax_cross_entropy(scores, labels, mask=mask)) == pytest.approx(math.log(2))


def test_every_positive_counts_alike_however_many_share_its_list():
    scores = torch.zeros(2, 4)  # each positive costs log 4
    labels = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    assert float(softmax_cross_entropy(scores, labels, reduction="sum")) == pytest.approx((3 + 1) * math.log(4))
    assert float(softmax_cross_entropy(scores, labels)) == pytest.approx(math.log(4))


def test_a_list_without_a_positive_counts_nothing():
    scores, labels = torch.randn(2, 3), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(softmax_cross_entropy(scores, labels), softmax_cross_entropy(scores[:1], labels[:1]))
    assert float(softmax_cross_entropy(scores[1:], labels[1:])) == 0


def test_adding_to_all_scores_of_a_request_changes_nothing():
    scores, labels = torch.randn(2, 3, dtype=torch.float64), torch.eye(2, 3, dtype=torch.float64)
    shifted = scores + torch.tensor([[5.0], [-100.0]])
    torch.testing.assert_close(softmax_cross_entropy(shifted, labels), softmax_cross_entropy(scores, labels))
