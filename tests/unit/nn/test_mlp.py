"""Networks over requests and candidates against one plain network over both."""

import pytest
import torch

from recsys.nn.mlp import MLP, SplitLinear

REQUEST = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
CANDIDATE = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(1))


def together(request, candidate):
    return torch.cat([request.unsqueeze(1).expand(-1, candidate.shape[1], -1), candidate], dim=-1)


def test_the_split_layer_equals_one_layer_over_both():
    split = SplitLinear(4, 2, 6)
    weight = torch.cat([split.request.weight, split.candidate.weight], dim=1)
    expected = together(REQUEST, CANDIDATE) @ weight.T + split.candidate.bias
    torch.testing.assert_close(split(REQUEST, CANDIDATE), expected)


def test_starts_like_one_layer_over_both():
    split, whole = SplitLinear(30, 70, 500), torch.nn.Linear(100, 500)
    for part in (split.request.weight, split.candidate.weight):
        assert float(part.detach().std()) == pytest.approx(float(whole.weight.detach().std()), rel=0.05)


def test_no_request_side():
    split = SplitLinear(0, 2, 6)
    torch.testing.assert_close(split(REQUEST[:, :0], CANDIDATE), split.candidate(CANDIDATE))


def test_equals_a_plain_network():
    found = MLP(4, 2, (6, 3), out=2).eval()
    first = found.first
    x = together(REQUEST, CANDIDATE) @ torch.cat([first.request.weight, first.candidate.weight], dim=1).T
    x = torch.relu(x + first.candidate.bias)
    expected = found.layers[1](torch.relu(found.layers[0](x)))
    torch.testing.assert_close(found(REQUEST, CANDIDATE), expected)
    assert expected.shape == (3, 5, 2)


@pytest.mark.parametrize("activation", ["relu", "prelu", "dice"])
def test_padding_is_no_part_of_batch_statistics(activation):
    mask = torch.arange(5).expand(3, -1) < torch.tensor([[5], [1], [3]])
    network = MLP(4, 2, (6, 3), activation=activation, norm="batch")
    expected = network(REQUEST, CANDIDATE, mask)[mask]
    far = torch.where(mask.unsqueeze(-1), CANDIDATE, 1e3)
    torch.testing.assert_close(network(REQUEST, far, mask)[mask], expected)


def test_dropout_is_for_training_only():
    network = MLP(4, 2, (64,), dropout=0.5)
    assert not torch.equal(network(REQUEST, CANDIDATE), network(REQUEST, CANDIDATE))
    network.eval()
    assert torch.equal(network(REQUEST, CANDIDATE), network(REQUEST, CANDIDATE))


def test_layer_norm_stands_before_the_activation():
    found = MLP(4, 2, (6,), norm="layer")
    x = found.first(REQUEST, CANDIDATE)
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(found(REQUEST, CANDIDATE), found.layers[0](torch.relu(x)))


def test_no_hidden_layer_is_refused():
    with pytest.raises(ValueError, match=r"^hidden is empty; expected the width of at least one hidden layer$"):
        MLP(1, 1, ())


def test_without_an_output_layer_it_gives_its_last_hidden_one():
    found = MLP(4, 2, (6, 3), out=None).eval()
    assert len(found.layers) == 1
    expected = torch.relu(found.layers[0](torch.relu(found.first(REQUEST, CANDIDATE))))
    torch.testing.assert_close(found(REQUEST, CANDIDATE), expected)
