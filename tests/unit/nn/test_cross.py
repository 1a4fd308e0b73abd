"""Cross networks against their recurrences."""

import pytest
import torch

from recsys.nn.cross import CrossMatrices, CrossVectors, joined

SIDES = pytest.mark.parametrize(("request_width", "candidate_width"), [(3, 2), (0, 4), (1, 1)])


def inputs(request_width, candidate_width):
    generator = torch.Generator().manual_seed(0)
    request = torch.randn(4, request_width, generator=generator)
    candidate = torch.randn(4, 3, candidate_width, generator=generator)
    whole = torch.stack([torch.cat([request, candidate[:, c]], dim=1) for c in range(3)], dim=1)
    return request, candidate, whole


def drawn(module):
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.5, generator=torch.Generator().manual_seed(weight.numel()))
    return module


def matrix(layer):
    parts = [layer.candidate.weight] if layer.request is None else [layer.request.weight, layer.candidate.weight]
    return torch.cat(parts, dim=1)


@SIDES
def test_joined_puts_the_request_first(request_width, candidate_width):
    request, candidate, whole = inputs(request_width, candidate_width)
    assert torch.equal(joined(request, candidate), whole)


@SIDES
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_vectors_follow_their_recurrence(request_width, candidate_width, layers):
    request, candidate, start = inputs(request_width, candidate_width)
    found = drawn(CrossVectors(request_width, candidate_width, layers))
    x = start
    for weight, bias in zip(matrix(found.products), found.biases, strict=True):
        x = start * (x @ weight).unsqueeze(-1) + bias + x
    torch.testing.assert_close(found(request, candidate), x @ matrix(found.out).T, rtol=1e-4, atol=1e-4)


def test_vectors_start_from_zero():
    request, candidate, _ = inputs(3, 2)
    assert not CrossVectors(3, 2, 2)(request, candidate).any()


@SIDES
@pytest.mark.parametrize("layers", [1, 3])
def test_matrices_follow_their_recurrence(request_width, candidate_width, layers):
    request, candidate, start = inputs(request_width, candidate_width)
    found = drawn(CrossMatrices(request_width, candidate_width, layers))
    x = start
    for layer in found.layers:
        x = start * (x @ matrix(layer).T + layer.candidate.bias) + x
    torch.testing.assert_close(found(request, candidate), x, rtol=1e-4, atol=1e-4)


@SIDES
def test_low_rank_matrices_follow_their_recurrence(request_width, candidate_width):
    request, candidate, start = inputs(request_width, candidate_width)
    found = drawn(CrossMatrices(request_width, candidate_width, 2, rank=2))
    x = start
    for layer in found.layers:
        product = layer.up.weight @ matrix(layer.down)  # U·Vᵀ
        assert torch.linalg.matrix_rank(product) <= 2
        x = start * (x @ product.T + layer.up.bias) + x
    torch.testing.assert_close(found(request, candidate), x, rtol=1e-4, atol=1e-4)


@SIDES
def test_experts_are_mixed_by_a_gate(request_width, candidate_width):
    request, candidate, start = inputs(request_width, candidate_width)
    found = drawn(CrossMatrices(request_width, candidate_width, 2, rank=2, experts=3))
    x = start
    for layer in found.layers:
        gates = (x @ matrix(layer.gate).T).softmax(-1)
        total = 0
        for i in range(3):
            rows = slice(2 * i, 2 * i + 2)
            low = torch.tanh(x @ matrix(layer.down)[rows].T)
            low = torch.tanh(low @ layer.core[i].T)
            # As in section 3.5: x₀ ∘ (U·… + b), weighted by the gates, which sum to one.
            total = total + gates[..., i : i + 1] * (start * (low @ layer.up.weight[:, rows].T + layer.up.bias))
        x = total + x
    torch.testing.assert_close(found(request, candidate), x, rtol=1e-4, atol=1e-4)


def test_experts_without_a_rank_are_refused():
    with pytest.raises(ValueError, match=r"^2 experts without a rank; expected a rank, as experts share"):
        CrossMatrices(3, 2, 1, experts=2)
