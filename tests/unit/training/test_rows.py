"""Tables moved a few rows at a time, against torch's own optimisers."""

import pytest
import torch
from torch.nn import functional

from recsys.training.rows import RowOptimiser, summed

ROWS, DIM = 12, 3


def table(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.Parameter(torch.randn(ROWS, DIM, generator=generator))


def steps(count=6, *, seed=1, first=1):
    """Rows and the gradients of their vectors: rows repeat within a step, and not all are in each."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        rows = torch.randint(first, ROWS, (2, 4), generator=generator)
        yield rows, torch.randn(2, 4, DIM, generator=generator)


def moved(optimiser, weight, *, sparse, given=None):
    for rows, slope in steps() if given is None else given:
        optimiser.zero_grad()
        (functional.embedding(rows, weight, sparse=sparse) * slope).sum().backward()
        optimiser.step()
    return weight.detach()


def test_adam_is_torchs_sparse_adam():
    ours, theirs = table(), table()
    found = moved(RowOptimiser([ours], "adam", lr=0.1), ours, sparse=True)
    expected = moved(torch.optim.SparseAdam([theirs], lr=0.1), theirs, sparse=True)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("rule", "peer"), [("sgd", torch.optim.SGD), ("adagrad", torch.optim.Adagrad)])
def test_sgd_and_adagrad_are_torchs(rule, peer):
    ours, theirs = table(), table()
    found = moved(RowOptimiser([ours], rule, lr=0.1), ours, sparse=True)
    expected = moved(peer([theirs], lr=0.1), theirs, sparse=False)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", ["adagrad", "adam"])
def test_rowwise_keeps_one_second_moment_a_row(rule):
    """With gradients of equal size in all columns, one number says as much as D."""
    full, rowwise = table(), table()
    even = [(rows, slope[..., :1].sign().expand(-1, -1, DIM)) for rows, slope in steps()]
    expected = moved(RowOptimiser([full], rule, lr=0.1), full, sparse=True, given=even)
    optimiser = RowOptimiser([rowwise], rule, lr=0.1, rowwise=True)
    torch.testing.assert_close(moved(optimiser, rowwise, sparse=True, given=even), expected)
    assert optimiser.state[rowwise]["squares"].shape == (ROWS, 1)


@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adam"])
def test_only_rows_of_the_step_move_and_never_the_padding(rule):
    weight = table()
    before = weight.detach().clone()
    given = [(torch.tensor([[0, 3, 3, 7]]), torch.ones(1, 4, DIM))]
    settings = {"weight_decay": 0.1, "l1": 0.1}
    found = moved(RowOptimiser([weight], rule, lr=0.1, **settings), weight, sparse=True, given=given)
    assert (found != before).any(dim=1).nonzero().flatten().tolist() == [3, 7]


@pytest.mark.parametrize(("decoupled", "peer"), [(False, torch.optim.SGD), (True, torch.optim.AdamW)])
def test_decay_falls_on_the_rows_of_the_step(decoupled, peer):
    ours, theirs = table(), table()
    given = [(torch.arange(1, ROWS).unsqueeze(0), slope[:1, :1].expand(1, ROWS - 1, DIM)) for _, slope in steps()]
    settings = {"lr": 0.1, "weight_decay": 0.3}
    optimiser = RowOptimiser([ours], "adam" if decoupled else "sgd", decoupled=decoupled, **settings)
    found = moved(optimiser, ours, sparse=True, given=given)
    expected = moved(peer([theirs], **settings), theirs, sparse=False, given=given)
    # AdamW adds epsilon to the corrected root.
    torch.testing.assert_close(found[1:], expected[1:], rtol=1e-5, atol=1e-5)


def test_l1_pulls_rows_by_as_much():
    weight = table()
    before = weight.detach().clone()
    given = [(torch.tensor([[4]]), torch.zeros(1, 1, DIM))]
    found = moved(RowOptimiser([weight], "sgd", lr=0.5, l1=0.1), weight, sparse=True, given=given)
    torch.testing.assert_close(found[4], before[4] - 0.05 * before[4].sign())


@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adam"])
def test_goes_on_from_its_state(rule):
    whole, parted = table(), table()
    expected = moved(RowOptimiser([whole], rule, lr=0.1), whole, sparse=True)
    first = RowOptimiser([parted], rule, lr=0.1)
    moved(first, parted, sparse=True, given=list(steps())[:3])
    second = RowOptimiser([parted], rule, lr=0.1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(moved(second, parted, sparse=True, given=list(steps())[3:]), expected)


def test_a_step_without_a_gradient_or_without_rows_moves_nothing():
    weight = table()
    before = weight.detach().clone()
    optimiser = RowOptimiser([weight], "adam", lr=0.1)
    optimiser.step()
    moved(optimiser, weight, sparse=True, given=[(torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 0, DIM))])
    assert torch.equal(weight, before)


def test_summed_is_coalesce_without_the_padding():
    weight = table()
    for rows, slope in steps(1, first=0):
        (functional.embedding(rows, weight, sparse=True) * slope).sum().backward()
    expected, found = weight.grad.coalesce(), summed(weight.grad)
    assert found.is_coalesced()
    assert summed(found) is found
    assert expected.indices()[0, 0] == 0
    assert torch.equal(found.indices(), expected.indices()[:, 1:])
    torch.testing.assert_close(found.values(), expected.values()[1:])


@pytest.mark.gpu
@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adam"])
def test_same_on_a_gpu(rule):
    here, there = table(), torch.nn.Parameter(table().detach().cuda())
    expected = moved(RowOptimiser([here], rule, lr=0.1), here, sparse=True)
    given = [(rows.cuda(), slope.cuda()) for rows, slope in steps()]
    found = moved(RowOptimiser([there], rule, lr=0.1), there, sparse=True, given=given)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)
