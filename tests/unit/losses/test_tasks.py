import pytest
import torch

from recsys.errors import ConfigError
from recsys.losses.pointwise import bce, mse
from recsys.losses.tasks import TaskLosses

torch.manual_seed(0)
SCORES, LABELS = torch.randn(4, 5, 2), torch.rand(4, 5, 2).round()
MASK = torch.rand(4, 5) < 0.8


def test_is_the_weighted_sum_of_the_losses_of_the_tasks():
    found = TaskLosses([bce, mse], [2.0, 0.5])(SCORES, LABELS, mask=MASK)
    expected = 2 * bce(SCORES[..., 0], LABELS[..., 0], mask=MASK) + 0.5 * mse(SCORES[..., 1], LABELS[..., 1], mask=MASK)
    torch.testing.assert_close(found, expected)


def test_a_learned_precision_settles_at_the_variance_that_the_losses_say():
    losses = TaskLosses([bce, mse], [1.0, 1.0], "uncertainty")
    step = torch.optim.Adam([losses.log_variance], lr=0.05)
    for _ in range(600):
        step.zero_grad()
        losses(SCORES, LABELS).backward()
        step.step()
    values = torch.stack([bce(SCORES[..., 0], LABELS[..., 0]), mse(SCORES[..., 1], LABELS[..., 1])])
    # The minimum of e^−s·l + s/2 is at e^s = 2l.
    torch.testing.assert_close(losses.log_variance.exp(), 2 * values, rtol=1e-3, atol=0)


def test_fixed_weights_learn_nothing():
    assert not TaskLosses([bce, bce], [1.0, 1.0]).log_variance.requires_grad


def test_balanced_gradients_become_equally_large():
    shared = torch.nn.Parameter(torch.tensor([0.3, -0.2]))
    losses = TaskLosses([mse, mse], [1.0, 1.0], "gradnorm", shared=lambda: [shared], alpha=0.0)
    x = torch.randn(8, 3)
    scale = torch.tensor([1.0, 10.0])
    for _ in range(400):
        losses(x.unsqueeze(-1) * shared * scale, torch.zeros(8, 3, 2))
    norms = []
    for task in range(2):
        loss = mse(x * shared[task] * scale[task], torch.zeros(8, 3))
        norms.append(torch.autograd.grad(loss, shared)[0].norm())
    first, second = losses.weights * torch.stack(norms)
    assert float(second / first) == pytest.approx(1, rel=0.1)
    assert float(losses.weights.sum()) == pytest.approx(2, rel=1e-5)


def test_a_task_that_learns_slower_gets_more_weight():
    shared = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    losses = TaskLosses([mse, mse], [1.0, 1.0], "gradnorm", shared=lambda: [shared])
    losses(shared.expand(4, 3, 2), torch.zeros(4, 3, 2))
    with torch.no_grad():
        shared[0] = 0.5  # the first task has learned something
    before = losses.weights.clone()
    losses(shared.expand(4, 3, 2) * torch.tensor([2.0, 1.0]), torch.zeros(4, 3, 2))
    losses.first.copy_(torch.tensor([4.0, 1.0]))
    for _ in range(5):
        losses(shared.expand(4, 3, 2) * torch.tensor([2.0, 1.0]), torch.zeros(4, 3, 2))
    assert losses.weights[1] / losses.weights[0] > before[1] / before[0]


def test_gradients_of_sparse_tables_are_balanced_too():
    table = torch.nn.Embedding(6, 2, sparse=True)
    losses = TaskLosses([bce, bce], [1.0, 1.0], "gradnorm", shared=lambda: [table.weight])
    found = losses(table(torch.tensor([[1, 1, 2]])), torch.ones(1, 3, 2))
    assert torch.isfinite(found)
    assert torch.isfinite(losses.weights).all()


def test_balancing_needs_shared_weights():
    with pytest.raises(ConfigError, match=r"ranking\.balance: gradnorm .* has none; expected fixed or uncertainty"):
        TaskLosses([bce, bce], [1.0, 1.0], "gradnorm")
