"""A ranker with drawn weights, and what an oracle in numpy needs of it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec
from recsys.ranking.base import select_inputs
from recsys.ranking.registry import build_ranker
from recsys.release.export import random_inputs


@dataclass(frozen=True)
class Drawn:
    """A ranker in evaluation mode, all weights drawn, and a batch of B = 3 requests with C = 4 candidates."""

    model: torch.nn.Module
    inputs: dict

    @property
    def logits(self):
        """`(B, C)`."""
        return array(self.model(self.inputs))[..., 0]

    @property
    def linear(self):
        """Bias and first order: `(B, C)`."""
        return array(self.model.linear(self.inputs))

    @property
    def vectors(self):
        """Of the request `(B, F, D)` and of the candidates `(B, C, G, D)`."""
        return [array(part) for part in self.model.inputs.vectors(self.inputs)]

    @property
    def numbers(self):
        """Of the request `(B, R)` and of the candidates `(B, C, S)`, standardised."""
        return [array(part) for part in self.model.inputs.numbers(self.inputs)]

    @property
    def fields(self):
        """Every input as a vector, `(B, C, N, D)`: the request's before the candidates', categories before numbers."""
        own = self.model.inputs
        scale = array(own.request_vectors.weight), array(own.candidate_vectors.weight)
        request, candidate = (
            np.concatenate([vectors, numbers[..., None] * scaled], axis=-2)
            for vectors, numbers, scaled in zip(self.vectors, self.numbers, scale, strict=True)
        )
        return np.concatenate([repeated(request, candidate.shape[1]), candidate], axis=2)

    @property
    def flat(self):
        """Vectors and numbers side by side, `(B, C, K)`."""
        request, candidate = (
            np.concatenate([vectors.reshape(*numbers.shape[:-1], -1), numbers], axis=-1)
            for vectors, numbers in zip(self.vectors, self.numbers, strict=True)
        )
        return np.concatenate([repeated(request, candidate.shape[1]), candidate], axis=2)


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def repeated(request, candidates):
    return np.repeat(request[:, None], candidates, axis=1)


@pytest.fixture
def drawn(model_inputs):
    """`drawn(config)` gives a `Drawn`; `drawn(config, "user.age", "item.year")` reads these inputs alone."""

    def make(config, *names, std=0.3):
        spec = select_inputs(model_inputs, config.model_copy(update={"fields": names or None}))
        torch.manual_seed(0)
        model = build_ranker(config, spec).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(std=std)
        inputs = random_inputs(spec.fields, spec.history_length, 3, 4, np.random.default_rng(0))
        return Drawn(model, {name: torch.from_numpy(values) for name, values in inputs.items()})

    return make


@pytest.fixture(scope="session")
def of():
    """`of(module.weight)` is a weight as an array."""
    return array


@pytest.fixture(scope="session")
def plain():
    """`plain(mlp, x)`: the network with ReLU as one would write it down, `(…, K)` to `(…, T)`."""

    def run(mlp, x):
        first, rest = mlp.first, [array(layer.weight) for layer in mlp.layers]
        weight = array(first.candidate.weight)
        if first.request is not None:
            weight = np.concatenate([array(first.request.weight), weight], axis=1)
        x = x @ weight.T + array(first.candidate.bias)
        for layer, matrix in zip(mlp.layers, rest, strict=True):
            x = np.maximum(x, 0) @ matrix.T + array(layer.bias)
        return x

    return run


@pytest.fixture(scope="session")
def genre_spec():
    """Past genres and the candidate's, and nothing else."""
    return InputSpec((Field("history.genre", 12, 1, "genre"), HISTORY_MASK, Field("item.genre", 12, 1, "genre")), 2)
