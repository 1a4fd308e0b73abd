"""A teacher's scores against scipy."""

import numpy as np
import pytest
import torch
from scipy.special import expit, rel_entr, softmax

from recsys.losses.distillation import distillation


@pytest.fixture
def draw():
    rng = np.random.default_rng(0)
    return 2 * rng.normal(size=(2, 4, 6)), rng.random((4, 6)) < 0.8, rng.random((4, 6)) + 0.1


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_over_a_list_it_is_the_divergence_of_the_softmaxes(draw, temperature):
    (scores, teacher), mask, _ = draw
    expected = []
    for b in range(4):
        p, q = (softmax(values[b, mask[b]] / temperature) for values in (teacher, scores))
        expected.append(temperature**2 * rel_entr(p, q).sum())
    scores, teacher, mask = map(torch.from_numpy, (scores, teacher, mask))
    each = distillation(scores, teacher, mask=mask, temperature=temperature, reduction="none")
    assert each.sum(dim=1).tolist() == pytest.approx(expected)
    assert (each >= 0).all()
    assert (each[~mask] == 0).all()
    mean = distillation(scores, teacher, mask=mask, temperature=temperature)
    assert float(mean) == pytest.approx(np.mean(expected)), "a request counts 1"


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_over_entries_it_is_the_divergence_of_the_sigmoids(draw, temperature):
    (scores, teacher), _, weight = draw
    p, q = expit(teacher / temperature), expit(scores / temperature)
    expected = temperature**2 * (rel_entr(p, q) + rel_entr(1 - p, 1 - q))
    scores, teacher, weight = map(torch.from_numpy, (scores, teacher, weight))
    given = {"weight": weight, "temperature": temperature, "over": "entry"}
    found = distillation(scores, teacher, reduction="none", **given)
    np.testing.assert_allclose(found.numpy(), weight.numpy() * expected)
    assert float(distillation(scores, teacher, **given)) == pytest.approx(np.average(expected, weights=weight.numpy()))


@pytest.mark.parametrize("over", ["list", "entry"])
class TestEither:
    def test_the_teachers_scores_are_best(self, draw, over):
        teacher = torch.from_numpy(draw[0][1])
        scores = teacher.clone().requires_grad_()
        loss = distillation(scores, teacher, over=over, weight=torch.from_numpy(draw[2]))
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
        assert scores.grad.abs().max() < 1e-12

    def test_gradient_equals_finite_differences_and_spares_the_teacher(self, draw, over):
        (scores, teacher), mask, weight = draw
        scores, teacher = torch.from_numpy(scores).requires_grad_(), torch.from_numpy(teacher).requires_grad_()
        given = {"mask": torch.from_numpy(mask), "weight": torch.from_numpy(weight), "temperature": 2.0, "over": over}
        assert torch.autograd.gradcheck(lambda s: distillation(s, teacher, **given), scores)
        distillation(scores, teacher, **given).backward()
        assert teacher.grad is None

    @pytest.mark.parametrize("junk", [float("nan"), 1e30])
    def test_padding_changes_nothing(self, draw, over, junk):
        scores, teacher = map(torch.from_numpy, draw[0])
        wide = [
            torch.cat([values, torch.full((4, 2), junk, dtype=values.dtype)], dim=1) for values in (scores, teacher)
        ]
        wide[0].requires_grad_()
        loss = distillation(*wide, mask=torch.arange(8).expand(4, 8) < 6, over=over)
        torch.testing.assert_close(loss, distillation(scores, teacher, over=over))
        loss.backward()
        assert torch.isfinite(wide[0].grad).all()
        assert (wide[0].grad[:, 6:] == 0).all()

    def test_extreme_scores_and_nothing_at_all_are_finite(self, draw, over):
        scores = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
        loss = distillation(scores, -scores, over=over)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(scores.grad).all()
        assert distillation(scores, -scores, mask=torch.zeros(1, 3, dtype=torch.bool), over=over) == 0

    def test_tasks_are_lists_of_their_own(self, draw, over):
        first, second = map(torch.from_numpy, draw[0])
        together = distillation(torch.stack([first, second], -1), torch.stack([second, first], -1), over=over)
        alone = (distillation(first, second, over=over) + distillation(second, first, over=over)) / 2
        torch.testing.assert_close(together, alone)


def test_temperature_keeps_the_gradient_of_one_size():
    scores, teacher = torch.zeros(1, 4, dtype=torch.float64), torch.tensor([[0.1, -0.1, 0.2, 0.0]], dtype=torch.float64)
    sizes = []
    for temperature in (1.0, 50.0):
        leaf = scores.clone().requires_grad_()
        distillation(leaf, teacher, temperature=temperature).backward()
        sizes.append(float(leaf.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)
