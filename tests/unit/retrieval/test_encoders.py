"""Query vectors against their definitions."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from recsys.errors import ArtifactError
from recsys.features.batch import QueryBatch
from recsys.retrieval.encoders import FoldInEncoder, PooledEncoder, whitened

ITEMS, DIM = 40, 6
ALPHA = np.full(ITEMS, 3, np.float32)
VECTORS = np.random.default_rng(0).normal(size=(ITEMS, DIM)).astype(np.float32)


def asked(histories):
    lengths = np.array([len(h) for h in histories], np.int32)
    rows = np.full((len(histories), max(lengths.max(), 1)), -1, np.int32)
    for row, history in zip(rows, histories, strict=True):
        row[: len(history)] = history
    return QueryBatch(rows, lengths, {})


HISTORIES = [[3, 5, 3], [], [7], list(range(20))]


@pytest.mark.parametrize("normalise", [True, False])
def test_a_pooled_vector_is_the_decayed_mean_of_the_last_items(normalise):
    found = PooledEncoder(VECTORS, decay=0.5, history=4, normalise=normalise).encode(asked(HISTORIES))
    for row, history in zip(found, HISTORIES, strict=True):
        if not history:
            assert np.isnan(row).all()
            continue
        recent = history[-4:]
        weights = 0.5 ** np.arange(len(recent) - 1, -1, -1)
        mean = weights @ VECTORS[recent] / weights.sum()
        assert_allclose(row, mean / np.linalg.norm(mean) if normalise else mean, rtol=1e-5)


def test_vectors_that_cancel_out_find_nothing():
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], np.float32)
    assert np.isnan(PooledEncoder(vectors).encode(asked([[0, 1], [2]]))).all()


@pytest.mark.parametrize(("decay", "user_penalty", "history"), [(1.0, 0.0, 200), (0.8, 0.5, DIM + 1), (0.8, 0.5, DIM)])
def test_a_folded_in_factor_solves_the_normal_equations(decay, user_penalty, history):
    alpha, regularisation = np.linspace(1, 9, ITEMS, dtype=np.float32), 0.7
    turned = whitened(VECTORS, regularisation)
    encoder = FoldInEncoder(
        turned,
        alpha=alpha,
        user_penalty=user_penalty,
        decay=decay,
        history=history,
    )
    found = encoder.encode(asked(HISTORIES))
    for row, items in zip(found, HISTORIES, strict=True):
        recent = items[-history:]
        if not recent:
            assert np.isnan(row).all()
            continue
        left, right = VECTORS.T @ VECTORS + regularisation * np.eye(DIM), np.zeros(DIM)
        for back, item in enumerate(reversed(recent)):
            extra = alpha[item] * len(recent) ** -user_penalty * decay**back
            left = left + extra * np.outer(VECTORS[item], VECTORS[item])
            right = right + (1 + extra) * VECTORS[item]
        assert_allclose(turned @ row, VECTORS @ np.linalg.solve(left, right), rtol=1e-3, atol=1e-4)


def test_many_requests_are_folded_in_as_one_at_a_time():
    rng = np.random.default_rng(1)
    histories = [rng.choice(ITEMS, rng.integers(0, 15), replace=False).tolist() for _ in range(600)]
    encoder = FoldInEncoder(whitened(VECTORS, 0.1), alpha=ALPHA)
    together = encoder.encode(asked(histories))
    for number in range(0, 600, 97):
        assert_allclose(encoder.encode(asked([histories[number]]))[0], together[number], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("encoder", "name"),
    [(PooledEncoder(VECTORS), "pooled.json"), (FoldInEncoder(VECTORS, alpha=ALPHA), "fold_in.json")],
)
def test_what_is_saved_comes_back_and_damage_is_named(encoder, name, tmp_path):
    encoder.save(tmp_path)
    again = type(encoder).load(tmp_path, {})
    assert again.encode(asked(HISTORIES)).tobytes() == encoder.encode(asked(HISTORIES)).tobytes()
    settings = json.loads((tmp_path / name).read_text())
    for broken in ("[1]", "{", json.dumps({**settings, "history": "many"}), "{}"):
        (tmp_path / name).write_text(broken)
        with pytest.raises(ArtifactError, match=name):
            type(encoder).load(tmp_path, {})
    (tmp_path / name).write_text(json.dumps(settings))
    np.save(tmp_path / "history_vectors.npy", np.full((3, 2), np.inf, np.float32))
    with pytest.raises(ArtifactError, match="expected finite"):
        type(encoder).load(tmp_path, {})


def test_confidences_of_other_items_are_refused(tmp_path):
    FoldInEncoder(VECTORS, alpha=ALPHA).save(tmp_path)
    np.save(tmp_path / "alpha.npy", ALPHA[1:])
    with pytest.raises(ArtifactError, match=r"alpha\.npy: expected 40 float32"):
        FoldInEncoder.load(tmp_path, {})


@pytest.mark.parametrize("normalise", [True, False])
def test_many_requests_are_pooled_as_one_at_a_time(normalise):
    encoder = PooledEncoder(VECTORS, decay=0.7, history=6, normalise=normalise)
    together = encoder.encode(asked(HISTORIES))
    alone = np.concatenate([encoder.encode(asked([history])) for history in HISTORIES])
    assert_allclose(alone, together, rtol=1e-6)
