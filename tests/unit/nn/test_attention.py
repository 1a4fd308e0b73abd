"""Target attention against the paper's activation unit, pair by pair."""

import itertools

import pytest
import torch

from recsys.nn.attention import TargetAttention

GENERATOR = torch.Generator().manual_seed(0)
QUERY = torch.randn(3, 4, 6, generator=GENERATOR)
KEYS = torch.randn(3, 5, 6, generator=GENERATOR)
MASK = torch.arange(5).expand(3, -1) < torch.tensor([[5], [2], [0]])


def unit(attention, q, k):
    """Weight of one past item for one candidate, from [q, k, q∘k]."""
    x = attention.query(q) + attention.key(k) + attention.product @ (q * k)
    for activation, layer in zip(attention.activations, attention.layers, strict=True):
        x = layer(activation(x))
    return x


@pytest.mark.parametrize("hidden", [(8,), (8, 3)])
@pytest.mark.parametrize("activation", ["dice", "prelu", "relu"])
def test_equals_the_activation_unit_of_every_pair(hidden, activation):
    attention = TargetAttention(6, hidden, activation=activation).eval()
    expected = torch.zeros(3, 4, 6)
    for b, c, step in itertools.product(range(3), range(4), range(5)):
        if MASK[b, step]:
            expected[b, c] += unit(attention, QUERY[b, c], KEYS[b, step]) * KEYS[b, step]
    torch.testing.assert_close(attention(QUERY, KEYS, MASK), expected, atol=1e-5, rtol=1e-5)


def test_an_empty_history_gives_zeros():
    attention = TargetAttention(6, (8,)).eval()
    assert (attention(QUERY, KEYS, MASK)[2] == 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_padded_history_and_candidates_change_nothing(training):
    attention = TargetAttention(6, (8,)).train(training)
    real = torch.arange(4).expand(3, -1) < torch.tensor([[4], [1], [2]])
    expected = attention(QUERY, KEYS, MASK, real)[real]
    keys = torch.where(MASK.unsqueeze(-1), KEYS, 1e3)
    query = torch.where(real.unsqueeze(-1), QUERY, 1e3)
    torch.testing.assert_close(attention(query, keys, MASK, real)[real], expected)


def test_no_hidden_layer_is_refused():
    with pytest.raises(ValueError, match=r"^hidden is empty; expected the width of at least one hidden layer$"):
        TargetAttention(6, ())
