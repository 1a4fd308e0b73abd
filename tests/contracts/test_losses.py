"""What every registered loss promises."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.losses.registry import LOSSES


@dataclass(frozen=True)
class Traits:
    """What sets a loss apart from the others.

    Attributes:
        matches: labels are values to be met, not a call for the highest scores: the best score is finite.
        margin: positives that are so far above count nothing any more; `None`: all count.
        largest: the largest score whose loss is finite in single precision.
    """

    matches: bool = False
    margin: float | None = None
    largest: float = 1e30


TRAITS = {
    "mse": Traits(matches=True, largest=1e15),
    "listnet": Traits(matches=True),
    "hinge": Traits(margin=1.0),
}

PROPERTY = settings(max_examples=30, deadline=None)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.sampled_from([None, 1, 3]), st.integers(0, 10_000))


@pytest.fixture(params=sorted(LOSSES))
def loss(request):
    return LOSSES[request.param]


@pytest.fixture
def traits(loss):
    return next(TRAITS.get(name, Traits()) for name, known in LOSSES.items() if known is loss)


def draw(requests, candidates, tasks, seed):
    """Scores, labels, mask and weight in double precision; every request has a positive."""
    generator = torch.Generator().manual_seed(seed)
    shape = (requests, candidates) if tasks is None else (requests, candidates, tasks)
    scores = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = (torch.rand(shape, generator=generator) < 0.4).double()
    labels[:, 0] = 1.0
    mask = torch.rand((requests, candidates), generator=generator) < 0.7
    mask[:, 0] = True
    weight = torch.rand((requests, candidates), generator=generator, dtype=torch.float64) + 0.1
    return scores, labels, mask, weight


def along(values, scores):
    """(B, C) beside scores (B, C) or (B, C, T)."""
    return values.unsqueeze(-1) if scores.ndim > values.ndim else values


def gradient(loss, scores, labels, **settings):
    scores = scores.clone().requires_grad_()
    loss(scores, labels, **settings).sum().backward()
    return scores.grad


@PROPERTY
@given(shape=SHAPES)
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_unreduced_sums_to_reduced(name, shape):
    scores, labels, mask, weight = draw(*shape)
    each = LOSSES[name](scores, labels, mask=mask, weight=weight, reduction="none")
    assert each.shape == scores.shape
    assert (each >= 0).all()
    torch.testing.assert_close(LOSSES[name](scores, labels, mask=mask, weight=weight, reduction="sum"), each.sum())


@PROPERTY
@given(shape=SHAPES, scale=st.floats(0.01, 100))
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_mean_does_not_change_with_the_size_of_all_weights(name, shape, scale):
    scores, labels, mask, weight = draw(*shape)
    once = LOSSES[name](scores, labels, mask=mask, weight=weight)
    torch.testing.assert_close(LOSSES[name](scores, labels, mask=mask, weight=scale * weight), once)
    plain = LOSSES[name](scores, labels, mask=mask)
    torch.testing.assert_close(LOSSES[name](scores, labels, mask=mask, weight=torch.full_like(weight, scale)), plain)


@PROPERTY
@given(shape=SHAPES, wide=st.integers(1, 4), junk=st.sampled_from([0.0, 1e30, float("inf"), float("nan")]))
@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_padding_changes_neither_loss_nor_gradient(name, reduction, shape, wide, junk):
    scores, labels, _, weight = draw(*shape)
    filler = torch.full((shape[0], wide, *scores.shape[2:]), junk, dtype=torch.float64)
    padded = [torch.cat([values, filler], dim=1) for values in (scores, labels)]
    real = torch.arange(shape[1] + wide).expand(shape[0], -1) < shape[1]
    long = torch.cat([weight, torch.full((shape[0], wide), 7.0, dtype=torch.float64)], dim=1)
    alone = LOSSES[name](scores, labels, weight=weight, reduction=reduction)
    torch.testing.assert_close(LOSSES[name](*padded, mask=real, weight=long, reduction=reduction), alone)
    found = gradient(LOSSES[name], *padded, mask=real, weight=long, reduction=reduction)
    torch.testing.assert_close(
        found[:, : shape[1]], gradient(LOSSES[name], scores, labels, weight=weight, reduction=reduction)
    )
    assert (found[:, shape[1] :] == 0).all()


@PROPERTY
@given(shape=SHAPES)
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_order_of_candidates_changes_nothing(name, shape):
    given = draw(*shape)
    order = torch.randperm(shape[1], generator=torch.Generator().manual_seed(shape[3]))
    scores, labels, mask, weight = given
    each = LOSSES[name](scores, labels, mask=mask, weight=weight, reduction="none")
    scores, labels, mask, weight = (values[:, order] for values in given)
    turned = LOSSES[name](scores, labels, mask=mask, weight=weight, reduction="none")
    torch.testing.assert_close(turned, each[:, order])


def test_gradient_equals_finite_differences(loss):
    scores, labels, mask, weight = draw(3, 4, None, 0)
    labels = labels * 0.7 + 0.1  # soft
    for reduction in ("mean", "sum", "none"):
        settings = {"mask": mask, "weight": weight, "reduction": reduction}
        assert torch.autograd.gradcheck(lambda s: loss(s, labels, **settings), scores.requires_grad_())  # noqa: B023


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_scores_stay_finite(loss, traits, size):
    size = min(size, traits.largest)
    scores = torch.tensor([[size, -size, size, -size]])
    labels = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert torch.isfinite(loss(scores, labels))
    assert torch.isfinite(gradient(loss, scores, labels)).all()


def test_all_zero_labels_are_finite_and_do_not_pull_up(loss):
    scores, labels = torch.randn(3, 4).abs(), torch.zeros(3, 4)
    assert torch.isfinite(loss(scores, labels))
    assert (gradient(loss, scores, labels) >= 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_fully_masked_is_zero_with_zero_gradient(loss, reduction):
    scores, labels, mask, _ = draw(2, 3, None, 1)
    nothing = torch.zeros_like(mask)
    assert (loss(scores, labels, mask=nothing, reduction=reduction) == 0).all()
    assert (gradient(loss, scores, labels, mask=nothing, reduction=reduction) == 0).all()


def test_a_fully_masked_request_changes_nothing_for_the_others(loss):
    scores, labels, mask, _ = draw(2, 3, None, 2)
    mask[1] = False
    torch.testing.assert_close(loss(scores, labels, mask=mask), loss(scores[:1], labels[:1], mask=mask[:1]))


def test_weight_zero_counts_nothing(loss):
    scores, labels, _, weight = draw(3, 4, None, 3)
    weight[1] = 0.0
    rest = torch.tensor([0, 2])
    torch.testing.assert_close(
        loss(scores, labels, weight=weight), loss(scores[rest], labels[rest], weight=weight[rest])
    )
    assert loss(scores, labels, weight=torch.zeros_like(weight)) == 0


def test_two_equal_halves_have_the_mean_of_one(loss):
    scores, labels, mask, _ = draw(3, 4, None, 4)
    twice = loss(scores.repeat(2, 1), labels.repeat(2, 1), mask=mask.repeat(2, 1))
    torch.testing.assert_close(twice, loss(scores, labels, mask=mask))


def test_tasks_are_losses_of_their_own(loss):
    scores, labels, mask, weight = draw(3, 4, 2, 5)
    together = loss(scores, labels, mask=mask, weight=weight, reduction="none")
    alone = [loss(scores[..., t], labels[..., t], mask=mask, weight=weight, reduction="none") for t in range(2)]
    torch.testing.assert_close(together, torch.stack(alone, dim=-1))


def test_raising_the_score_of_a_positive_lowers_the_loss(loss, traits):
    if traits.matches:
        pytest.skip("the best score is finite: see the next test")
    labels, others, margin = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0.0, 0.5]), traits.margin
    raised = [-2.0, 0.0, 1.0, 1.4] if margin else [-2.0, 0.0, 2.0, 4.0]
    losses = [float(loss(torch.cat([torch.tensor([score]), others])[None], labels)) for score in raised]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 4
    if margin:
        assert loss(torch.tensor([[0.5 + margin, 0.0, 0.5]]), labels) == 0


def test_scores_equal_to_the_labels_are_best(loss, traits):
    if not traits.matches:
        pytest.skip("no score is the best: see the test before")
    labels = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(gradient(loss, labels, labels), torch.zeros_like(labels))
    best = loss(labels, labels)
    assert all(loss(labels + step * torch.eye(3)[i], labels) > best for i in range(3) for step in (-0.1, 0.1))
