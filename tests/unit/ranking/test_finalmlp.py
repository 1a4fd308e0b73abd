"""FinalMLP against its equations."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit

from recsys.ranking.configs import FinalMLPConfig

CONFIG = FinalMLPConfig(kind="finalmlp", embedding_dim=3, hidden=(5, 4), gate_hidden=3, heads=2)


def gate(module, x, of):
    hidden = np.maximum(x @ of(module.layers[0].weight).T + of(module.layers[0].bias), 0)
    return 2 * expit(hidden @ of(module.layers[2].weight).T + of(module.layers[2].bias))


def stream(mlp, x, of):
    first = mlp.first
    parts = [first.candidate] if first.request is None else [first.request, first.candidate]
    weight = np.concatenate([of(part.weight) for part in parts], axis=1)
    x = np.maximum(x @ weight.T + of(first.candidate.bias), 0)
    return np.maximum(x @ of(mlp.layers[0].weight).T + of(mlp.layers[0].bias), 0)


def fused(fusion, x, y, of):
    total = x @ of(fusion.first) + y @ of(fusion.second)
    for head, matrix in enumerate(of(fusion.pairs)):
        part = slice(2 * head, 2 * head + 2)
        total += np.einsum("bci,ij,bcj->bc", x[..., part], matrix, y[..., part])
    return total


def expected(found, of, first, second):
    model, x = found.model, found.flat
    return of(model.bias) + fused(
        model.fusion, stream(model.streams[0], first * x, of), stream(model.streams[1], second * x, of), of
    )


def test_equals_equations_4_to_10(drawn, of):
    found = drawn(CONFIG)
    width = found.model.sides[0]
    request, candidate = found.flat[..., :width], found.flat[..., width:]
    gates = gate(found.model.gates[0], request, of), gate(found.model.gates[1], candidate, of)
    np.testing.assert_allclose(found.logits, expected(found, of, *gates), rtol=1e-4, atol=1e-3)


def test_without_request_inputs_the_first_gate_is_a_learned_vector(drawn, of):
    found = drawn(CONFIG, "item.item_id", "item.year")
    gates = 2 * expit(of(found.model.gates[0].learned)), gate(found.model.gates[1], found.flat, of)
    np.testing.assert_allclose(found.logits, expected(found, of, *gates), rtol=1e-4, atol=1e-3)


def test_without_gates_both_networks_see_all(drawn, of):
    found = drawn(CONFIG.model_copy(update={"gate_hidden": 0}))
    np.testing.assert_allclose(found.logits, expected(found, of, 1, 1), rtol=1e-4, atol=1e-3)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValidationError, match="found 3, expected a divisor of 64, the last width of hidden"):
        FinalMLPConfig(kind="finalmlp", heads=3)
