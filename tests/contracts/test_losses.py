"""What every registered loss promises."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from recsys.losses.combined import Combined
from recsys.losses.config import LossConfig, needing_groups
from recsys.losses.lambdarank import lambda_loss, lambdarank
from recsys.losses.listwise import infonce, softmax_cross_entropy
from recsys.losses.ndcg import approx_ndcg, neural_ndcg
from recsys.losses.pairwise import hinge, ranknet
from recsys.losses.pointwise import bce, focal
from recsys.losses.registry import LOSSES


@dataclass(frozen=True)
class Traits:
    """What sets a loss apart from the others.

    Attributes:
        matches: labels are values to be met, not a call for the highest scores: the best score is finite.
        margin: positives that are so far above count nothing any more; `None`: all count.
        largest: the largest score whose loss is finite in single precision.
        constants: its weights depend on the scores, but are constants to its gradient, which is tested by itself.
        probabilities: labels are at most 1.
        below_zero: how far below 0 it may come by what an iteration leaves.
    """

    matches: bool = False
    margin: float | None = None
    largest: float = 1e30
    constants: bool = False
    probabilities: bool = False
    below_zero: float = 0.0


TRAITS = {
    **dict.fromkeys(("bce", "bce, smooth", "focal", "focal, alpha", "sum"), Traits(probabilities=True)),
    "mse": Traits(matches=True, largest=1e15),
    "listnet": Traits(matches=True),
    "hinge": Traits(margin=1.0),
    "hinge, hardest": Traits(margin=1.0),
    "neural_ndcg": Traits(below_zero=1e-3),
    "neural_ndcg, at 2": Traits(below_zero=1e-3),
    "lambdarank, norm": Traits(constants=True),
}
"""Of those that have any."""

CASES = LOSSES | {
    "bce, smooth": partial(bce, label_smoothing=0.1, positive_weight=3.0),
    "focal, alpha": partial(focal, gamma=0.5, alpha=0.25),
    "ranknet, hardest": partial(ranknet, temperature=0.5, hardest=2),
    "hinge, hardest": partial(hinge, hardest=1),
    "softmax, smooth": partial(softmax_cross_entropy, temperature=2.0, label_smoothing=0.2),
    "infonce, sharp": partial(infonce, temperature=0.1),
    "approx_ndcg, sharp": partial(approx_ndcg, temperature=0.5, gain="linear"),
    "neural_ndcg, at 2": partial(neural_ndcg, k=2, gain="linear"),
    "lambdarank, at 2": partial(lambdarank, k=2, sigmoid=2.0),
    "lambdarank, norm": partial(lambdarank, norm=True),
    "lambda_loss 1": partial(lambda_loss, scheme="ndcg_loss1", gain="linear"),
    "lambda_loss 2": partial(lambda_loss, scheme="ndcg_loss2", k=3),
    "sum": Combined(((1.0, bce), (0.1, lambdarank))),
}
"""Every loss as it is, and with other settings."""

MATCHING = [name for name in CASES if TRAITS.get(name, Traits()).matches]
FREE = [name for name in CASES if name not in MATCHING]

PROPERTY = settings(max_examples=30, deadline=None)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.sampled_from([None, 1, 3]), st.integers(0, 10_000))


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture
def loss(name):
    return CASES[name]


@pytest.fixture
def traits(name):
    return TRAITS.get(name, Traits())


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
@pytest.mark.parametrize("name", CASES)
def test_unreduced_sums_to_reduced(name, shape):
    scores, labels, mask, weight = draw(*shape)
    each = CASES[name](scores, labels, mask=mask, weight=weight, reduction="none")
    assert each.shape == scores.shape
    assert (each >= -TRAITS.get(name, Traits()).below_zero).all()
    torch.testing.assert_close(CASES[name](scores, labels, mask=mask, weight=weight, reduction="sum"), each.sum())


@PROPERTY
@given(shape=SHAPES, scale=st.floats(0.01, 100))
@pytest.mark.parametrize("name", CASES)
def test_mean_does_not_change_with_the_size_of_all_weights(name, shape, scale):
    scores, labels, mask, weight = draw(*shape)
    once = CASES[name](scores, labels, mask=mask, weight=weight)
    torch.testing.assert_close(CASES[name](scores, labels, mask=mask, weight=scale * weight), once)
    plain = CASES[name](scores, labels, mask=mask)
    torch.testing.assert_close(CASES[name](scores, labels, mask=mask, weight=torch.full_like(weight, scale)), plain)


@PROPERTY
@given(shape=SHAPES, wide=st.integers(1, 4), junk=st.sampled_from([0.0, 1e30, float("inf"), float("nan")]))
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_padding_changes_neither_loss_nor_gradient(name, reduction, shape, wide, junk):
    scores, labels, _, weight = draw(*shape)
    filler = torch.full((shape[0], wide, *scores.shape[2:]), junk, dtype=torch.float64)
    padded = [torch.cat([values, filler], dim=1) for values in (scores, labels)]
    real = torch.arange(shape[1] + wide).expand(shape[0], -1) < shape[1]
    long = torch.cat([weight, torch.full((shape[0], wide), 7.0, dtype=torch.float64)], dim=1)
    alone = CASES[name](scores, labels, weight=weight, reduction=reduction)
    torch.testing.assert_close(CASES[name](*padded, mask=real, weight=long, reduction=reduction), alone)
    found = gradient(CASES[name], *padded, mask=real, weight=long, reduction=reduction)
    torch.testing.assert_close(
        found[:, : shape[1]], gradient(CASES[name], scores, labels, weight=weight, reduction=reduction)
    )
    assert (found[:, shape[1] :] == 0).all()


@PROPERTY
@given(shape=SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_order_of_candidates_changes_nothing(name, shape):
    given = draw(*shape)
    order = torch.randperm(shape[1], generator=torch.Generator().manual_seed(shape[3]))
    scores, labels, mask, weight = given
    each = CASES[name](scores, labels, mask=mask, weight=weight, reduction="none")
    scores, labels, mask, weight = (values[:, order] for values in given)
    turned = CASES[name](scores, labels, mask=mask, weight=weight, reduction="none")
    torch.testing.assert_close(turned, each[:, order])


@pytest.mark.parametrize("name", [name for name in CASES if not TRAITS.get(name, Traits()).constants])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradient_equals_finite_differences(name, reduction):
    scores, labels, mask, weight = draw(3, 4, None, 0)
    labels[:2] = labels[:2] * torch.tensor([0.7, 2.0], dtype=torch.float64)[:, None]  # soft and graded
    settings = {"mask": mask, "weight": weight, "reduction": reduction}
    assert gradient(CASES[name], scores, labels, **settings).abs().max() > 0
    assert torch.autograd.gradcheck(lambda s: CASES[name](s, labels, **settings), scores.requires_grad_())


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


COMPARING = [name for name in CASES if not name.startswith(("bce", "focal", "mse", "sum"))]


def test_what_compares_is_what_the_settings_say_needs_groups():
    kinds = {name: TypeAdapter(LossConfig).validate_python(name) for name in LOSSES}
    assert {name for name, loss in kinds.items() if needing_groups(loss)} == set(COMPARING) & set(LOSSES)


@pytest.mark.parametrize("name", COMPARING)
def test_a_request_without_a_positive_counts_nothing_where_candidates_are_compared(loss):
    scores, labels, mask, weight = draw(3, 5, None, 8)
    labels[1] = 0.0
    rest = torch.tensor([0, 2])
    each = loss(scores, labels, mask=mask, weight=weight, reduction="none")
    assert (each[1] == 0).all()
    assert (gradient(loss, scores, labels, mask=mask, weight=weight)[1] == 0).all()
    alone = loss(scores[rest], labels[rest], mask=mask[rest], weight=weight[rest])
    torch.testing.assert_close(loss(scores, labels, mask=mask, weight=weight), alone)


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


@PROPERTY
@given(shape=SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_a_batch_is_its_requests_one_at_a_time(name, shape):
    scores, labels, mask, weight = draw(*shape)
    each = CASES[name](scores, labels, mask=mask, weight=weight, reduction="none")
    rows = [slice(row, row + 1) for row in range(shape[0])]
    alone = [CASES[name](scores[r], labels[r], mask=mask[r], weight=weight[r], reduction="none") for r in rows]
    torch.testing.assert_close(each, torch.cat(alone))


@pytest.mark.parametrize("high", [5.0, 300.0])
def test_graded_labels_are_learnt_in_their_order(loss, traits, high):
    labels = torch.tensor([[0.0, high, 1.0], [1.0, 0.0, high]]) / (high if traits.probabilities else 1)
    found = gradient(loss, torch.zeros(2, 3), labels)
    assert torch.isfinite(found).all()
    assert (found[labels == labels.max()] < 0).all()
    assert (found[labels == labels.max()] < found[labels == 0]).all()


def test_single_precision_is_near_double(loss):
    scores, labels, mask, weight = draw(4, 6, None, 6)
    low = loss(scores.float(), labels.float(), mask=mask, weight=weight.float())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), loss(scores, labels, mask=mask, weight=weight), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_judged_in_single(loss, half):
    scores, labels, mask, weight = draw(4, 6, None, 7)
    scores, given_settings = scores.to(half), {"mask": mask, "weight": weight.float()}
    found = loss(scores, labels.to(half), **given_settings)
    torch.testing.assert_close(found, loss(scores.float(), labels.float(), **given_settings))
    assert gradient(loss, scores, labels.to(half), **given_settings).dtype == half


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 3, 2)])
def test_nothing_is_zero(loss, shape):
    assert loss(torch.zeros(shape), torch.zeros(shape)) == 0
    assert loss(torch.zeros(shape), torch.zeros(shape), reduction="none").shape == shape


def test_a_request_of_one_candidate_has_a_finite_loss(loss):
    for label in (0.0, 1.0):
        scores, labels = torch.tensor([[0.3]]), torch.tensor([[label]])
        assert torch.isfinite(loss(scores, labels))
        assert torch.isfinite(gradient(loss, scores, labels)).all()


@pytest.mark.parametrize("name", FREE)
def test_raising_the_score_of_a_positive_lowers_the_loss(loss, traits):
    labels, others = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0.0, 0.5])
    raised = (-2.0, 0.2, 1.0, 1.4) if traits.margin else (-2.0, 0.2, 2.0, 4.0)
    lists = [torch.cat([torch.tensor([score]), others])[None] for score in raised]
    assert all(gradient(loss, scores, labels)[0, 0] < 0 for scores in lists)
    if traits.constants:
        return  # its gradient is all that it stands for
    losses = [float(loss(scores, labels)) for scores in lists]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 4
    if traits.margin:
        assert loss(torch.tensor([[0.5 + traits.margin, 0.0, 0.5]]), labels) == 0


@pytest.mark.parametrize("name", MATCHING)
def test_scores_equal_to_the_labels_are_best(loss):
    labels = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(gradient(loss, labels, labels), torch.zeros_like(labels))
    best = loss(labels, labels)
    assert all(loss(labels + step * torch.eye(3)[i], labels) > best for i in range(3) for step in (-0.1, 0.1))
