import pytest
import torch
from torch import nn

from recsys.nn.experts import Experts, ParallelLinear, ParallelMLP, mixed


def test_parallel_layers_are_layers_of_their_own():
    torch.manual_seed(0)
    layer, x = ParallelLinear(3, 4, 5), torch.randn(2, 6, 3, 4)
    for number in range(3):
        expected = x[:, :, number] @ layer.weight[number] + layer.bias[number]
        torch.testing.assert_close(layer(x)[:, :, number], expected)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", "prelu", "dice"])
def test_networks_do_not_see_one_another(norm, activation):
    torch.manual_seed(0)
    network = ParallelMLP(3, 4, (5, 6), out=2, norm=norm, activation=activation).eval()
    x = torch.randn(2, 6, 3, 4)
    other = x.clone()
    other[:, :, 1] += 1
    first, second = network(x), network(other)
    assert first.shape == (2, 6, 3, 2)
    torch.testing.assert_close(first[:, :, [0, 2]], second[:, :, [0, 2]])
    assert not torch.allclose(first[:, :, 1], second[:, :, 1])


def test_padding_does_not_enter_the_statistics():
    torch.manual_seed(0)
    network = ParallelMLP(2, 4, (5,), out=1, norm="batch").train()
    x, mask = torch.randn(3, 6, 2, 4), torch.rand(3, 6) < 0.5
    junk = torch.where(mask[..., None, None], x, 100.0)
    torch.testing.assert_close(network(junk, mask)[mask], network(x, mask)[mask])


def test_experts_of_one_layer_are_one_layer_cut_in_pieces():
    torch.manual_seed(0)
    experts = Experts(3, 4, 5, (6,))
    request, candidate = torch.randn(2, 4), torch.randn(2, 7, 5)
    expected = torch.relu(experts.first(request, candidate)).reshape(2, 7, 3, 6)
    torch.testing.assert_close(experts(request, candidate), expected)
    assert [w.shape for w in experts.last_weights()] == [w.shape for w in experts.first.parameters()]


def test_mixtures_are_means_and_a_closed_gate_counts_nothing():
    experts = torch.tensor([[[[1.0, 10.0], [3.0, 30.0]]]])
    gates = torch.tensor([[[[0.0, 0.0], [0.0, -torch.inf]]]])
    torch.testing.assert_close(mixed(experts, gates), torch.tensor([[[[2.0, 20.0], [1.0, 10.0]]]]))


def test_each_network_starts_as_a_layer_by_itself_would():
    torch.manual_seed(0)
    layer, alone = ParallelLinear(200, 64, 8), nn.Linear(64, 8)
    assert layer.weight.std().item() == pytest.approx(alone.weight.std().item(), rel=0.1)
