"""Retrieval losses against loops, and what masks promise."""

import math
from functools import partial

import pytest
import torch

from recsys.losses.retrieval import bpr, cosine_contrastive, hinge, softmax

SCORES = torch.tensor([[0.3, -1.2, 2.0, 0.1], [1.5, 0.2, -0.4, 0.9], [-2.0, 0.0, 0.7, 3.0]])
TARGET = torch.tensor([[2], [0], [1]])
MASK = torch.tensor([[True, True, True, False], [True, False, True, True], [False, True, False, False]])
LOSSES = {
    "softmax": softmax,
    "smoothed": partial(softmax, label_smoothing=0.2),
    "bpr": bpr,
    "hinge": partial(hinge, margin=0.7),
    "cosine_contrastive": partial(cosine_contrastive, margin=0.1, negative_weight=3.0),
}


def mean(values):
    return sum(values) / len(values) if values else 0.0


def by_hand(name, scores, target, mask):
    total = 0.0
    for row, positive, real in zip(scores.tolist(), target.flatten().tolist(), mask.tolist(), strict=True):
        own = row[positive]
        columns = [value for value, there in zip(row, real, strict=True) if there]
        negatives = [value for at, value in enumerate(row) if real[at] and at != positive]
        if name in ("softmax", "smoothed"):
            share = 0.2 if name == "smoothed" else 0.0
            total += math.log(sum(map(math.exp, columns))) - (1 - share) * own - share * mean(columns)
        elif name == "bpr":
            total += mean([math.log(1 + math.exp(value - own)) for value in negatives])
        elif name == "hinge":
            total += mean([max(0.0, 0.7 + value - own) for value in negatives])
        else:
            total += 1 - own + 3 * mean([max(0.0, value - 0.1) for value in negatives])
    return total / len(scores)


@pytest.fixture(params=sorted(LOSSES))
def name(request):
    return request.param


@pytest.mark.parametrize("mask", [MASK, torch.ones_like(MASK), None])
def test_it_is_the_mean_over_the_requests_of_the_formula(name, mask):
    expected = by_hand(name, SCORES, TARGET, torch.ones_like(MASK) if mask is None else mask)
    assert float(LOSSES[name](SCORES, TARGET, mask=mask)) == pytest.approx(expected, rel=1e-5)


def test_masked_columns_change_neither_loss_nor_gradient(name):
    def gradient(scores):
        scores = scores.clone().requires_grad_()
        loss = LOSSES[name](scores, TARGET, mask=MASK)
        loss.backward()
        return float(loss.detach()), scores.grad

    clean, dirty = gradient(SCORES), gradient(SCORES.masked_fill(~MASK, 1e6))
    assert clean[0] == pytest.approx(dirty[0])
    assert torch.allclose(clean[1], dirty[1])
    assert (clean[1][~MASK] == 0).all()


def test_the_gradient_is_that_of_finite_differences(name):
    scores = SCORES.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: LOSSES[name](values, TARGET, mask=MASK), (scores,))


@pytest.mark.parametrize("mask", [MASK, None])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_several_positives_count_as_their_mean(mask, smoothing):
    loss = partial(softmax, label_smoothing=smoothing)
    several = torch.tensor([[2, 0], [0, -1], [1, -1]])
    scores = SCORES.double()
    alone = [loss(scores, torch.tensor([[first], [0], [1]]), mask=mask) for first in (2, 0)]
    assert float(loss(scores, several, mask=mask)) == pytest.approx(float(sum(alone) / 2))
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(values, several, mask=mask), (scores,))


def test_extreme_scores_stay_finite(name):
    scores = (SCORES * 1e4).requires_grad_()
    loss = LOSSES[name](scores, TARGET, mask=MASK)
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()


def test_columns_may_come_in_any_order(name):
    order = torch.tensor([3, 1, 0, 2])
    moved = torch.argsort(order)[TARGET]
    found = LOSSES[name](SCORES[:, order], moved, mask=MASK[:, order])
    assert float(found) == pytest.approx(float(LOSSES[name](SCORES, TARGET, mask=MASK)), rel=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_requests_count_by_their_weight(name):
    weight = torch.tensor([1.0, 3.0, 0.5])
    alone = [LOSSES[name](SCORES[[row]], TARGET[[row]], mask=MASK[[row]]) for row in range(len(weight))]
    expected = sum(w * loss for w, loss in zip(weight, alone, strict=True)) / weight.sum()
    found = LOSSES[name](SCORES, TARGET, mask=MASK, weight=weight)
    torch.testing.assert_close(found, expected)
    nothing = torch.zeros_like(weight)
    assert LOSSES[name](SCORES, TARGET, mask=MASK, weight=nothing) == 0
