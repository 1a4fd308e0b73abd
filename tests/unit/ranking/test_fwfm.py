"""The field-weighted factorisation machine against its equation."""

import itertools

import numpy as np
import torch

from recsys.ranking.configs import FMConfig, FwFMConfig
from recsys.ranking.registry import build_ranker

CONFIG = FwFMConfig(kind="fwfm", embedding_dim=3)


def test_equals_equation_4(drawn, of):
    found = drawn(CONFIG)
    weights, fields = of(found.model.pairs), found.fields
    pairs = sum(
        weights[i, j] * (fields[:, :, i] * fields[:, :, j]).sum(-1) for i, j in itertools.combinations(range(8), 2)
    )
    np.testing.assert_allclose(found.logits, found.linear + pairs, rtol=1e-4, atol=1e-4)


def test_starts_as_a_factorisation_machine(drawn):
    found = drawn(CONFIG)
    fm = build_ranker(FMConfig(kind="fm", embedding_dim=3), found.model.spec).eval()
    fm.load_state_dict({name: values for name, values in found.model.state_dict().items() if name != "pairs"})
    found.model.pairs.data.copy_(build_ranker(CONFIG, found.model.spec).pairs)
    torch.testing.assert_close(found.model(found.inputs), fm(found.inputs), rtol=1e-4, atol=1e-4)
