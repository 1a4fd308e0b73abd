"""LambdaRank's gradients against LightGBM's formula, LightGBM itself and loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.losses.lambdarank import lambda_loss, lambdarank

PROPERTY = settings(max_examples=25, deadline=None)
DRAWS = given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 10_000))


def draw(requests, candidates, seed, grades=4):
    rng = np.random.default_rng(seed)
    shape = (requests, candidates)
    labels = rng.integers(0, grades, size=shape).astype(float)
    return 2 * rng.normal(size=shape), labels, rng.random(shape) < 0.8, rng.random(shape) + 0.1


def discount(rank):
    return 1 / math.log2(1 + rank)


def ideal(labels, k):
    worth = sorted((2**y - 1 for y in labels), reverse=True)[:k]
    return sum(g * discount(rank) for rank, g in enumerate(worth, start=1))


def ranks_of(scores):
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return {i: rank for rank, i in enumerate(order, start=1)}


def lightgbm_formula(scores, labels, *, sigmoid, k, norm):
    """Gradient of one request as `rank_objective.hpp` has it: over ranks, then over those further down."""
    count = len(scores)
    order = sorted(range(count), key=lambda i: -scores[i])
    best = ideal(labels, k)
    gradient, whole = np.zeros(count), 0.0
    for first in range(min(count - 1, k or count)):
        for second in range(first + 1, count):
            if labels[order[first]] == labels[order[second]]:
                continue
            ranked = (first, second) if labels[order[first]] > labels[order[second]] else (second, first)
            high, low = order[ranked[0]], order[ranked[1]]
            gap = scores[high] - scores[low]
            delta = (2 ** labels[high] - 2 ** labels[low]) * abs(discount(first + 1) - discount(second + 1)) / best
            if norm and max(scores) != min(scores):
                delta /= 0.01 + abs(gap)
            pull = -sigmoid * delta / (1 + math.exp(sigmoid * gap))
            gradient[high] += pull
            gradient[low] -= pull
            whole -= 2 * pull
    return gradient * (math.log2(1 + whole) / whole if norm and whole > 0 else 1.0)


def gradient_of(scores, labels, **given_settings):
    leaf = torch.from_numpy(scores).requires_grad_()
    lambdarank(leaf, torch.from_numpy(labels), reduction="sum", **given_settings).backward()
    return leaf.grad.numpy()


@PROPERTY
@DRAWS
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("sigmoid", [1.0, 2.0])
@pytest.mark.parametrize("k", [None, 1, 3])
def test_gradient_is_lightgbms_formula(norm, sigmoid, k, requests, candidates, seed):
    scores, labels, mask, _ = draw(requests, candidates, seed)
    found = gradient_of(scores, labels, mask=torch.from_numpy(mask), sigmoid=sigmoid, k=k, norm=norm)
    for b in range(requests):
        expected = lightgbm_formula(scores[b, mask[b]], labels[b, mask[b]], sigmoid=sigmoid, k=k, norm=norm)
        np.testing.assert_allclose(found[b, mask[b]], expected, atol=1e-10)


@pytest.fixture(scope="module")
def leaf_a_row():
    """A LightGBM model that has a leaf of its own for each of 60 rows, and the rows."""
    lightgbm = pytest.importorskip("lightgbm")
    rows = np.arange(60.0)[:, None]
    data = lightgbm.Dataset(rows, np.random.default_rng(0).permutation(60))
    quiet = {"verbosity": -1, "num_threads": 1}
    tree = lightgbm.train(
        {"num_leaves": 60, "min_data_in_leaf": 1, "min_data_in_bin": 1, "learning_rate": 1.0, **quiet}, data, 1
    )
    assert len(set(tree.predict(rows, pred_leaf=True).ravel())) == 60
    return tree, rows, quiet


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("sigmoid", [1.0, 2.0])
@pytest.mark.parametrize("k", [3, 30])
def test_gradient_is_that_of_lightgbm(leaf_a_row, norm, sigmoid, k):
    tree, rows, quiet = leaf_a_row
    scores, labels, _, _ = draw(5, 12, 3)
    expected = gradient_of(scores, labels, sigmoid=sigmoid, k=k, norm=norm).ravel()
    # A leaf's value is −gradient / (second derivative + λ): with λ this large, the gradient alone.
    large = 1e9
    objective = {"objective": "lambdarank", "sigmoid": sigmoid, "lambdarank_norm": norm, "lambda_l2": large}
    tree.params = {**objective, "lambdarank_truncation_level": k, **quiet}
    given_lists = {"group": [12] * 5, "init_score": scores.ravel(), "decay_rate": 0.0}
    found = -large * tree.refit(rows, labels.ravel(), **given_lists).predict(rows, raw_score=True)
    # Its sigmoid is a table.
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def loop(numbers, weigh, k=None):
    """`(B, C)` losses and `(B, C)` what they count: one pair after the other."""
    losses, total = np.zeros_like(numbers[0]), np.zeros_like(numbers[0])
    for b, (scores, labels, mask, weight) in enumerate(zip(*numbers, strict=True)):
        real = np.flatnonzero(mask)
        pairs = [(i, j) for i in real for j in real if labels[i] > labels[j]]
        rank = {int(real[i]): r for i, r in ranks_of(scores[real]).items()}
        for i, j in pairs:
            total[b, i] += weight[i] / len(pairs)
            if min(rank[i], rank[j]) <= (k or len(labels)):
                gain_i, gain_j = ((2 ** labels[c] - 1) / ideal(labels[real], k) for c in (i, j))
                size = weigh(gain_i, gain_j, rank[i], rank[j])
                losses[b, i] += weight[i] * size * math.log1p(math.exp(scores[j] - scores[i]))
    return losses, total


SCHEMES = {
    "ndcg_loss1": lambda gi, gj, ri, rj: gi * discount(ri),
    "ndcg_loss2": lambda gi, gj, ri, rj: (gi - gj) * (discount(abs(ri - rj)) - discount(abs(ri - rj) + 1)),
    "ndcg_loss2++": lambda gi, gj, ri, rj: (
        (gi - gj) * (3 * (discount(abs(ri - rj)) - discount(abs(ri - rj) + 1)) + abs(discount(ri) - discount(rj)))
    ),
}


@PROPERTY
@DRAWS
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("k", [None, 2])
def test_schemes_equal_a_loop(scheme, k, requests, candidates, seed):
    numbers = draw(requests, candidates, seed)
    losses, total = loop(numbers, SCHEMES[scheme], k)
    scores, labels, mask, weight = map(torch.from_numpy, numbers)
    given_settings = {"scheme": scheme, "mu": 3.0, "k": k, "mask": mask, "weight": weight}
    each = lambda_loss(scores, labels, reduction="none", **given_settings)
    np.testing.assert_allclose(each.numpy(), losses, atol=1e-10)
    mean = losses.sum() / total.sum() if total.any() else 0.0
    assert float(lambda_loss(scores, labels, **given_settings)) == pytest.approx(mean)


def test_ndcg_loss2_bounds_the_missing_gain():
    """Wang 2018, theorem 3: the loss, with logarithms to base 2, is never below 1 − NDCG."""
    for seed in range(50):
        scores, labels, _, _ = draw(1, 8, seed)
        rank = ranks_of(scores[0])
        dcg = sum((2**y - 1) * discount(rank[i]) for i, y in enumerate(labels[0]))
        given_settings = {"scheme": "ndcg_loss2", "reduction": "sum"}
        bound = lambda_loss(torch.from_numpy(scores), torch.from_numpy(labels), **given_settings)
        if labels.max() > 0:
            assert float(bound) / math.log(2) >= 1 - dcg / ideal(labels[0], None) - 1e-12


def test_a_model_that_scores_all_alike_learns_whatever_the_order_of_candidates():
    labels = np.array([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    found = gradient_of(np.zeros((2, 4)), labels)
    assert found[0, 0] == pytest.approx(found[1, 3])
    assert found[0, 0] < 0
    assert sorted(found[0]) == pytest.approx(sorted(found[1]))


def test_rows_of_a_request_can_be_truncated_to_nothing_but_the_first():
    scores, labels = np.array([[3.0, 2.0, 1.0]]), np.array([[1.0, 2.0, 0.0]])
    found = gradient_of(scores, labels, k=1)
    swap = (3 - 1) / 3 * (1 - 1 / math.log2(3)) / (1 + math.exp(2.0 - 3.0))  # 2 above 1, best DCG at 1 is 3
    above = 1 / 3 * (1 - 0.5) / (1 + math.exp(3.0 - 1.0))  # 1 above 0
    assert found[0].tolist() == pytest.approx([swap - above, -swap, above])
