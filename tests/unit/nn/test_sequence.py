"""Causal encoders against torch's own layers, and what causality and padding promise."""

import numpy as np
import pytest
import torch
from torch import nn

from recsys.nn.sequence import RecurrentStates, SelfAttentionStates, last_state

BATCH, LENGTH, DIM = 3, 6, 8
MASK = torch.tensor([[1.0] * 6, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.0] * 6])
KINDS = {
    "gru": lambda: RecurrentStates(DIM, kind="gru", layers=2),
    "lstm": lambda: RecurrentStates(DIM, kind="lstm"),
    **{
        f"{norm}-{positions}": lambda norm=norm, positions=positions: SelfAttentionStates(
            DIM, LENGTH, norm=norm, positions=positions
        )
        for norm in ("pre", "post")
        for positions in ("learned", "sinusoidal", "relative")
    },
}


@pytest.fixture
def vectors():
    return torch.randn(BATCH, LENGTH, DIM, generator=torch.Generator().manual_seed(0)) * MASK.unsqueeze(-1)


@pytest.fixture(params=sorted(KINDS))
def encoder(request):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = KINDS[request.param]().eval()
        for name, parameter in made.named_parameters():
            if name in ("distance", "learned"):
                nn.init.normal_(parameter)
    return made


def test_a_state_knows_nothing_of_what_follows(encoder, vectors):
    before = encoder(vectors, MASK)
    vectors[:, 4, 0] += 7.0
    after = encoder(vectors, MASK)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[0, 4:], after[0, 4:])


def test_order_matters(encoder, vectors):
    swapped = vectors[:, [1, 0, 2, 3, 4, 5]]
    assert not torch.allclose(encoder(vectors, MASK)[0, 5], encoder(swapped, MASK)[0, 5], atol=1e-4)


def test_a_shorter_batch_gives_the_same_states(encoder, vectors):
    short = encoder(vectors[:, :3], MASK[:, :3])
    assert torch.allclose(short[1], encoder(vectors, MASK)[1, :3], atol=1e-6)


def test_the_last_state_is_that_of_the_last_real_position():
    states = torch.arange(BATCH * LENGTH * 2.0).reshape(BATCH, LENGTH, 2)
    found = last_state(states, MASK)
    assert found.tolist() == [states[0, 5].tolist(), states[1, 2].tolist(), [0.0, 0.0]]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_blocks_are_those_of_torch(norm, vectors):
    encoder = SelfAttentionStates(
        DIM, LENGTH, blocks=1, heads=2, feed_forward=3, norm=norm, positions="sinusoidal"
    ).eval()
    block = encoder.blocks[0]
    layer = nn.TransformerEncoderLayer(
        DIM, 2, 3 * DIM, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm == "pre"
    )
    pairs = {
        "self_attn.in_proj_": block.project,
        "self_attn.out_proj.": block.join,
        "linear1.": block.feed[0],
        "linear2.": block.feed[3],
        "norm1.": block.attention_norm,
        "norm2.": block.feed_norm,
    }
    layer.load_state_dict(
        {f"{at}{end}": getattr(part, end) for at, part in pairs.items() for end in ("weight", "bias")}
    )
    waves = np.zeros((LENGTH, DIM), np.float32)
    for position in range(LENGTH):
        for i in range(DIM // 2):
            angle = position / 10000 ** (2 * i / DIM)
            waves[position, 2 * i : 2 * i + 2] = np.sin(angle), np.cos(angle)
    x = vectors * DIM**0.5 + torch.from_numpy(waves)
    ahead = torch.triu(torch.ones(LENGTH, LENGTH, dtype=torch.bool), diagonal=1)
    # Training mode without dropout keeps torch from its fused path.
    layer.train()
    expected = encoder.norm(layer(x, ahead)) if norm == "pre" else layer(encoder.norm(x), ahead)
    assert torch.allclose(encoder(vectors, MASK), expected, atol=1e-5)


def test_a_relative_bias_is_added_for_each_distance(vectors):
    encoder = SelfAttentionStates(DIM, LENGTH, blocks=1, heads=2, positions="relative").eval()
    with torch.no_grad():
        encoder.distance[0, 2], encoder.distance[1, 0] = 4.0, -3.0
    bias = encoder._bias(4)
    back = torch.arange(4).unsqueeze(1) - torch.arange(4)
    assert torch.equal(bias[0] == 4.0, back == 2)
    assert torch.equal(bias[1] == -3.0, back == 0)
    assert torch.equal(torch.isneginf(bias[0]), back < 0)
