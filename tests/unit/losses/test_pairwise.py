"""Losses of pairs against loops over all of them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.losses import base
from recsys.losses.base import Lists
from recsys.losses.pairs import pairs_of
from recsys.losses.pairwise import hinge, ranknet

PROPERTY = settings(max_examples=30, deadline=None)


def draw(requests, candidates, seed, grades=3):
    """Distinct scores, labels with ties, mask and weight in double precision."""
    rng = np.random.default_rng(seed)
    scores = rng.permutation(requests * candidates).reshape(requests, candidates) / 3 + rng.random() - candidates / 2
    labels = rng.integers(0, grades, size=(requests, candidates)).astype(float)
    return scores, labels, rng.random((requests, candidates)) < 0.8, rng.random((requests, candidates)) + 0.1


def loop(scores, labels, mask, weight, penalty, hardest=None):
    """`(B, C)` losses and `(B, C)` what they count: one pair after the other."""
    losses, total = np.zeros_like(scores), np.zeros_like(scores)
    for b in range(len(scores)):
        real = np.flatnonzero(mask[b])
        pairs = []
        for i in real:
            below = sorted((j for j in real if labels[b, j] < labels[b, i]), key=lambda j: -scores[b, j])
            pairs += [(i, j) for j in below[:hardest]]
        for i, j in pairs:
            losses[b, i] += weight[b, i] * penalty(scores[b, i] - scores[b, j]) / len(pairs)
            total[b, i] += weight[b, i] / len(pairs)
    return losses, total


PENALTIES = {
    "ranknet": (ranknet, {}, lambda gap: math.log1p(math.exp(-gap))),
    "ranknet, sharp": (ranknet, {"temperature": 0.5}, lambda gap: math.log1p(math.exp(-2 * gap))),
    "hinge": (hinge, {"margin": 1.5}, lambda gap: max(0.0, 1.5 - gap)),
}


@PROPERTY
@given(st.integers(1, 4), st.integers(1, 7), st.sampled_from([None, 1, 2, 50]), st.integers(0, 10_000))
@pytest.mark.parametrize("name", PENALTIES)
def test_equals_a_loop_over_pairs(name, requests, candidates, hardest, seed):
    loss, given_settings, penalty = PENALTIES[name]
    numbers = draw(requests, candidates, seed)
    losses, total = loop(*numbers, penalty, hardest)
    scores, labels, mask, weight = map(torch.from_numpy, numbers)
    given_settings = {**given_settings, "mask": mask, "weight": weight, "hardest": hardest}
    found = loss(scores, labels, reduction="none", **given_settings)
    np.testing.assert_allclose(found.numpy(), losses, atol=1e-12)
    mean = float(loss(scores, labels, **given_settings))
    assert mean == pytest.approx(losses.sum() / total.sum() if total.any() else 0.0)


def test_a_request_counts_one_however_long_it_is():
    scores = torch.zeros(2, 6)
    labels = torch.tensor([[1.0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0]])
    mask = torch.tensor([[True] * 6, [True, True, False, False, False, False]])
    assert ranknet(scores, labels, mask=mask, reduction="none").sum(1).tolist() == pytest.approx([math.log(2)] * 2)
    assert hinge(scores, labels, mask=mask, reduction="sum").item() == pytest.approx(1 + 1)


def test_only_the_order_of_labels_counts():
    scores = torch.randn(3, 5)
    labels = torch.tensor([[0.0, 1, 2, 1, 0]] * 3)
    torch.testing.assert_close(ranknet(scores, labels), ranknet(scores, labels.square() * 10))


def test_the_weight_of_the_better_one_counts():
    scores, labels = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]])
    heavy_loser = ranknet(scores, labels, weight=torch.tensor([[2.0, 100.0, 1.0]]), reduction="sum")
    assert float(heavy_loser) == pytest.approx(2 * math.log(2))


def test_hard_pairs_are_those_nearest_to_be_wrong():
    scores, labels = torch.tensor([[1.0, 3.0, -2.0, 0.5]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    found = hinge(scores, labels, margin=1.0, hardest=2)  # against 3 and 0.5
    assert float(found) == pytest.approx(((1 - (1 - 3)) + (1 - (1 - 0.5))) / 2)


def test_only_candidates_that_win_are_looked_at():
    labels = torch.zeros(2, 100)
    labels[0, 7], labels[1, 3], labels[1, 50] = 1, 2, 1
    lists = Lists(torch.randn(2, 100), labels, torch.ones(2, 100, dtype=torch.bool), torch.ones(2, 100))
    pairs = pairs_of(lists)
    assert pairs.real.shape == (2, 2, 100), "of one and two candidates that have any below"
    assert pairs.real.sum(dim=(1, 2)).tolist() == [99, 99 + 98]


def test_parts_give_what_the_whole_gives(monkeypatch):
    scores, labels, mask, weight = map(torch.from_numpy, draw(7, 5, 0))
    results = []
    for cells in (1 << 24, 5 * 5 * 2, 1):  # all, two and one request at a time
        monkeypatch.setattr(base, "_CELLS", cells)
        leaf = scores.clone().requires_grad_()
        loss = ranknet(leaf, labels, mask=mask, weight=weight)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    for loss, found in results[1:]:
        torch.testing.assert_close(loss, results[0][0])
        torch.testing.assert_close(found, results[0][1])


def test_memory_is_bounded_however_many_requests(monkeypatch):
    sizes = []
    monkeypatch.setattr(base, "_CELLS", 300 * 300 * 4)
    parts = Lists.parts
    monkeypatch.setattr(Lists, "parts", lambda self, size: sizes.append(size) or parts(self, size))
    ranknet(torch.randn(9, 300), torch.arange(300.0).expand(9, -1))
    assert sizes == [4]


@pytest.mark.parametrize(("loss", "slope"), [(ranknet, -0.5), (hinge, -1.0)])
def test_the_gradient_pulls_both_ends_of_a_pair(loss, slope):
    scores = torch.zeros(1, 2, requires_grad=True)
    loss(scores, torch.tensor([[1.0, 0.0]])).backward()
    assert scores.grad.tolist() == [[slope, -slope]]
