"""Pooling of a history against arithmetic."""

import pytest
import torch

from recsys.nn.pooling import AttentionPooling, DecayPooling, MeanPooling

VECTORS = torch.tensor([[[1.0], [2.0], [4.0], [9.0]]]).expand(3, -1, -1)
MASK = (torch.arange(4).expand(3, -1) < torch.tensor([[3], [1], [0]])).float()


def test_starts_as_a_mean_decayed_by_the_steps_back():
    vectors = VECTORS * MASK.unsqueeze(-1)
    found = DecayPooling(4, 0.5)(vectors, MASK)
    expected = (1 * 0.25 + 2 * 0.5 + 4 * 1) / (0.25 + 0.5 + 1)
    assert found.flatten().tolist() == pytest.approx([expected, 1.0, 0.0])


def test_without_decay_it_is_the_mean():
    found = DecayPooling(4, 1.0)(VECTORS * MASK.unsqueeze(-1), MASK)
    assert found.flatten().tolist() == pytest.approx([(1 + 2 + 4) / 3, 1.0, 0.0])


def test_longer_padding_changes_nothing():
    pooling = DecayPooling(6, 0.7)
    wide, longer = torch.zeros(3, 2, 1), torch.zeros(3, 2)
    vectors = VECTORS * MASK.unsqueeze(-1)
    found = pooling(torch.cat([vectors, wide], dim=1), torch.cat([MASK, longer], dim=1))
    torch.testing.assert_close(found, pooling(vectors, MASK))


def test_weights_are_learned_by_distance_from_the_end():
    pooling = DecayPooling(4, 0.5)
    pooling(VECTORS[1:2], MASK[1:2]).sum().backward()
    assert pooling.log_weights.grad.abs().sum() == 0  # one item alone has all the weight
    pooling(VECTORS[:1], MASK[:1]).sum().backward()
    assert (pooling.log_weights.grad[:3] != 0).all()
    assert pooling.log_weights.grad[3] == 0


@pytest.mark.parametrize(("power", "expected"), [(1.0, 7 / 3), (0.5, 7 / 3**0.5), (0.0, 7.0)])
def test_the_sum_is_divided_by_a_power_of_the_length(power, expected):
    found = MeanPooling(power)(VECTORS * MASK.unsqueeze(-1), MASK)
    assert found.flatten().tolist() == pytest.approx([expected, 1.0, 0.0])


def test_attention_starts_as_the_mean_and_then_weighs_by_what_it_looks_for():
    pooling = AttentionPooling(1)
    vectors = VECTORS * MASK.unsqueeze(-1)
    assert pooling(vectors, MASK).flatten().tolist() == pytest.approx([7 / 3, 1.0, 0.0])
    with torch.no_grad():
        pooling.query.fill_(3.0)
        pooling.key.weight.fill_(0.2)
        pooling.key.bias.fill_(0.1)
    weights = torch.exp(3.0 * torch.tanh(0.2 * torch.tensor([1.0, 2.0, 4.0]) + 0.1))
    expected = float((weights * torch.tensor([1.0, 2.0, 4.0])).sum() / weights.sum())
    assert pooling(vectors, MASK).flatten().tolist() == pytest.approx([expected, 1.0, 0.0])
