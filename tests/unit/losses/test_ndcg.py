"""Smooth NDCG against loops over ranks and permutations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from recsys.losses.base import Lists
from recsys.losses.gains import best_sum, discounts, gains, ranks
from recsys.losses.ndcg import approx_ndcg, neural_ndcg

PROPERTY = settings(max_examples=25, deadline=None)
DRAWS = given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 10_000))


def draw(requests, candidates, seed, grades=4):
    rng = np.random.default_rng(seed)
    shape = (requests, candidates)
    labels = rng.integers(0, grades, size=shape).astype(float)
    return 2 * rng.normal(size=shape), labels, rng.random(shape) < 0.8, rng.random(shape) + 0.1


def smooth_loss(numbers, matrix, gain, k=None):
    """`(B,)` 1 − NDCG and `(B,)` weights, `matrix` giving how much of each candidate stands at which rank."""
    losses, total = [], []
    for scores, labels, mask, weight in zip(*numbers, strict=True):
        s, y, w = scores[mask], labels[mask], weight[mask]
        plain = gain(y)
        if len(set(y)) < 2:
            losses.append(0.0), total.append(0.0)
            continue
        worth = plain * w
        places = [1 / math.log2(rank + 1) for rank in range(1, len(y) + 1)][:k]
        best = sum(g * d for g, d in zip(sorted(worth, reverse=True), places, strict=False))
        losses.append(1 - matrix(s, worth, k) / best)
        total.append(worth.sum() / plain.sum())
    return np.array(losses), np.array(total)


def approximate_dcg(temperature):
    def dcg(s, worth, _):
        found = 0.0
        for i in range(len(s)):
            rank = 1 + sum(1 / (1 + math.exp((s[i] - s[j]) / temperature)) for j in range(len(s)) if j != i)
            found += worth[i] / math.log2(1 + rank)
        return found

    return dcg


def sorted_dcg(temperature, iterations):
    def dcg(s, worth, k):
        n = len(s)
        apart = [sum(abs(s[i] - s[j]) for j in range(n)) for i in range(n)]
        logits = np.array(
            [[((n + 1 - 2 * r) * s[i] - apart[i]) / temperature for i in range(n)] for r in range(1, n + 1)]
        )
        matrix = np.exp(logits - logits.max(axis=1, keepdims=True))
        matrix /= matrix.sum(axis=1, keepdims=True)
        for _ in range(iterations):
            matrix /= matrix.sum(axis=0, keepdims=True)
            matrix /= matrix.sum(axis=1, keepdims=True)
        return sum((matrix[r] @ worth) / math.log2(r + 2) for r in range(min(n, k or n)))

    return dcg


@PROPERTY
@DRAWS
@pytest.mark.parametrize(("gain", "worth"), [("exponential", lambda y: 2**y - 1), ("linear", lambda y: y)])
def test_approx_ndcg_equals_a_loop(gain, worth, requests, candidates, seed):
    numbers = draw(requests, candidates, seed)
    losses, total = smooth_loss(numbers, approximate_dcg(0.5), worth)
    check(approx_ndcg, numbers, losses, total, temperature=0.5, gain=gain)


@PROPERTY
@DRAWS
@pytest.mark.parametrize("k", [None, 1, 3])
def test_neural_ndcg_equals_a_loop(k, requests, candidates, seed):
    numbers = draw(requests, candidates, seed)
    losses, total = smooth_loss(numbers, sorted_dcg(2.0, 5), lambda y: 2**y - 1, k)
    check(neural_ndcg, numbers, losses, total, temperature=2.0, iterations=5, k=k)


def check(loss, numbers, losses, total, **given_settings):
    scores, labels, mask, weight = map(torch.from_numpy, numbers)
    given_settings = {**given_settings, "mask": mask, "weight": weight}
    each = loss(scores, labels, reduction="none", **given_settings).numpy()
    np.testing.assert_allclose(each.sum(axis=1), losses * total, atol=1e-9)
    mean = (losses * total).sum() / total.sum() if total.any() else 0.0
    assert float(loss(scores, labels, **given_settings)) == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize(("loss", "k"), [(approx_ndcg, None), (neural_ndcg, None), (neural_ndcg, 3)])
def test_sharp_is_scikit_learns_ndcg(loss, k):
    scores, labels, _, _ = draw(6, 8, 0)
    expected = 1 - ndcg_score(labels, scores, k=k)
    at = {} if k is None else {"k": k}
    found = loss(torch.from_numpy(scores), torch.from_numpy(labels), temperature=1e-4, gain="linear", **at)
    assert float(found) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("loss", [approx_ndcg, neural_ndcg])
def test_an_entry_has_the_share_of_its_gain(loss):
    scores, labels = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[2.0, 1.0, 0.0]])
    each = loss(scores, labels, reduction="none")[0]
    assert float(each[0] / each[1]) == pytest.approx((2**2 - 1) / (2**1 - 1))
    assert each[2] == 0


def test_huge_labels_have_finite_gains():
    lists = Lists(
        torch.zeros(1, 3), torch.tensor([[0.0, 500.0, 499.0]]), torch.ones(1, 3, dtype=bool), torch.ones(1, 3)
    )
    found = gains(lists, "exponential")
    assert found[0].tolist() == pytest.approx([0, 1, 0.5])


def test_tiny_labels_keep_their_gains():
    labels = torch.tensor([[0.0, 1e-9, 2e-9]])
    found = gains(Lists(labels, labels, torch.ones(1, 3, dtype=bool), torch.ones(1, 3)), "exponential")
    assert float(found[0, 2] / found[0, 1]) == pytest.approx(2)


def test_ranks_are_pessimistic_about_ties_and_put_padding_last():
    scores = torch.tensor([[1.0, 1.0, 3.0, 9.0, 1.0]])
    labels = torch.tensor([[2.0, 0.0, 0.0, 0.0, 1.0]])
    lists = Lists(scores, labels, torch.tensor([[True, True, True, False, True]]), torch.ones(1, 5))
    assert ranks(lists).tolist() == [[4.0, 2.0, 1.0, 5.0, 3.0]]


def test_best_sum_is_the_ideal_dcg():
    found = best_sum(torch.tensor([[1.0, 3.0, 0.0, 2.0]]), k=2)
    assert float(found) == pytest.approx(3 + 2 / math.log2(3))
    assert best_sum(torch.zeros(1, 4), k=None) == 1
    assert discounts(torch.tensor([1.0, 3.0])).tolist() == [1.0, 0.5]
