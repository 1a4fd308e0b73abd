"""Likelihoods of orders against scipy, loops and arithmetic."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from recsys.losses.listwise import infonce, listmle, listnet, softmax_cross_entropy

PROPERTY = settings(max_examples=30, deadline=None)


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


def loops(scores, labels, mask, weight):
    """For each request its real candidates as lists of scores, labels and weights, and where they stand."""
    for b in range(len(scores)):
        at = np.flatnonzero(mask[b])
        if not len(at):
            continue
        yield b, at, scores[b, at], labels[b, at], weight[b, at]


def draw(requests, candidates, seed, grades=3):
    rng = np.random.default_rng(seed)
    shape = (requests, candidates)
    labels = rng.integers(0, grades, size=shape).astype(float)
    return 2 * rng.normal(size=shape), labels, rng.random(shape) < 0.8, rng.random(shape) + 0.1


def check(loss, numbers, losses, total, **given_settings):
    scores, labels, mask, weight = map(torch.from_numpy, numbers)
    given_settings = {**given_settings, "mask": mask, "weight": weight}
    np.testing.assert_allclose(loss(scores, labels, reduction="none", **given_settings).numpy(), losses, atol=1e-12)
    mean = losses.sum() / total.sum() if total.any() else 0.0
    assert float(loss(scores, labels, **given_settings)) == pytest.approx(mean, abs=1e-12)


DRAWS = given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 10_000))


@PROPERTY
@DRAWS
def test_softmax_with_settings_equals_scipy(requests, candidates, seed):
    numbers = draw(requests, candidates, seed)
    losses, total = np.zeros((requests, candidates)), np.zeros((requests, candidates))
    for b, at, s, y, w in loops(*numbers):
        target = 0.8 * y + 0.2 * y.mean()
        losses[b, at], total[b, at] = -w * target * log_softmax(s / 2), w * target
    check(softmax_cross_entropy, numbers, losses, total, temperature=2.0, label_smoothing=0.2)


@PROPERTY
@DRAWS
def test_listnet_equals_scipy(requests, candidates, seed):
    numbers = draw(requests, candidates, seed)
    losses, total = np.zeros((requests, candidates)), np.zeros((requests, candidates))
    for b, at, s, y, w in loops(*numbers):
        if len(set(y)) > 1:
            losses[b, at], total[b, at] = -w * softmax(y / 0.5) * log_softmax(s), w * softmax(y / 0.5)
    check(listnet, numbers, losses, total, temperature=0.5)


@PROPERTY
@DRAWS
def test_listmle_equals_a_loop(requests, candidates, seed):
    numbers = draw(requests, candidates, seed)
    losses, total = np.zeros((requests, candidates)), np.zeros((requests, candidates))
    for b, at, s, y, w in loops(*numbers):
        judged = [i for i in range(len(y)) if (y < y[i]).any()]
        for i in judged:
            likelihood = math.exp(s[i]) / (math.exp(s[i]) + np.exp(s[y < y[i]]).sum())
            losses[b, at[i]] = -w[i] * math.log(likelihood) / len(judged)
            total[b, at[i]] = w[i] / len(judged)
    check(listmle, numbers, losses, total)


def test_listmle_without_ties_is_the_plackett_luce_likelihood():
    scores, labels = torch.randn(1, 4, dtype=torch.float64), torch.tensor([[2.0, 0.0, 3.0, 1.0]])
    weights = {order: 1.0 for order in permutations(range(4))}
    for order in weights:
        left = [math.exp(scores[0, i]) for i in order]
        for place in range(4):
            weights[order] *= left[place] / sum(left[place:])
    assert sum(weights.values()) == pytest.approx(1)
    # The last of four is drawn from itself alone: three draws are judged.
    assert float(listmle(scores, labels)) == pytest.approx(-math.log(weights[2, 0, 3, 1]) / 3)


def test_listmle_does_not_care_where_equal_labels_stand():
    scores = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    listmle(scores, torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]])).backward()
    first, last = scores.grad[0, :3].tolist(), scores.grad[0, 3:].tolist()
    assert first == pytest.approx([-(1 - 1 / 4) / 3] * 3)  # each is one of four
    assert last == pytest.approx([1 / 4] * 3)  # three times a fourth of a third


@PROPERTY
@DRAWS
def test_infonce_equals_a_loop(requests, candidates, seed):
    numbers = draw(requests, candidates, seed)
    losses, total = np.zeros((requests, candidates)), np.zeros((requests, candidates))
    for b, at, s, y, w in loops(*numbers):
        negative = np.exp(s[y == 0] / 0.7).sum()
        for i in np.flatnonzero(y > 0) if negative else ():
            own = math.exp(s[i] / 0.7)
            losses[b, at[i]], total[b, at[i]] = -w[i] * y[i] * math.log(own / (own + negative)), w[i] * y[i]
    check(infonce, numbers, losses, total, temperature=0.7)


def test_infonce_of_one_positive_is_the_softmax():
    scores, labels = torch.randn(3, 5), torch.eye(3, 5)
    torch.testing.assert_close(infonce(scores, labels), softmax_cross_entropy(scores, labels))


def test_listmle_with_one_positive_is_the_softmax():
    scores, labels = torch.randn(3, 5), torch.eye(3, 5)
    torch.testing.assert_close(listmle(scores, labels), softmax_cross_entropy(scores, labels))
