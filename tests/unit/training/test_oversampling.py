"""Positives that are made up."""

import math
import sys

import numpy as np
import pytest

from recsys.errors import ConfigError, DataError
from recsys.training.batches import Samples
from recsys.training.oversampling import synthetic_positives

N = 1500
RNG = np.random.default_rng(0)
AGE, PRICE, RANK = RNG.normal(size=(3, N)).astype(np.float32)
POSITIVE = RNG.random(N) < 1 / (1 + np.exp(3 - AGE + PRICE))
KINDS = ("smote", "adasyn")


def samples(labels=POSITIVE, **inputs):
    given = {"user.age": AGE, "item.price": PRICE[:, None], "route.rank": RANK[:, None], **inputs}
    return Samples(given, labels.astype(np.float32)[:, None], np.ones((N, 1), bool), 64)


@pytest.mark.parametrize("kind", KINDS)
def test_new_positives_lie_between_two_of_the_old_and_log_odds_know_of_them(kind):
    found = synthetic_positives(samples(), kind, 2, seed=0)
    for name, values in samples().inputs.items():
        assert found.inputs[name].dtype == np.float32
        assert found.inputs[name].shape == (len(found.labels), *values.shape[1:])
        np.testing.assert_array_equal(found.inputs[name][:N], values)
    np.testing.assert_array_equal(found.labels[:N, 0], POSITIVE)
    assert (found.labels[N:] == 1).all()
    assert found.mask.all()
    positives, negatives = int(found.labels.sum()), int((~POSITIVE).sum())
    assert negatives / positives == pytest.approx(2, abs=0 if kind == "smote" else 0.1, rel=1e-3)
    made_odds = math.log(positives / POSITIVE.sum())
    np.testing.assert_allclose(found.offset, made_odds, rtol=1e-5)
    table = np.stack([np.ravel(values) for values in found.inputs.values()], axis=1).astype(np.float64)
    ends, made = table[:N][POSITIVE], table[N:][:50]
    for point in made:
        # Distance from the nearest line between two positives.
        line = ends[None, :] - ends[:, None]
        length = np.maximum((line**2).sum(axis=-1), 1e-12)
        share = np.clip(((point - ends)[:, None] * line).sum(axis=-1) / length, 0, 1)
        nearest = ends[:, None] + share[..., None] * line
        assert np.linalg.norm(point - nearest, axis=-1).min() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same(kind):
    one, two, other = (synthetic_positives(samples(), kind, 2, seed=seed).inputs["user.age"] for seed in (0, 0, 1))
    assert one.tobytes() == two.tobytes() != other.tobytes()


def test_a_ratio_that_is_reached_needs_none():
    given = samples()
    assert synthetic_positives(given, "smote", 1000, seed=0) is given


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("item.genre", RNG.integers(2, 9, (N, 1))),
        ("item.tags", RNG.integers(2, 9, (N, 1, 3))),
        ("history.mask", np.ones((N, 5), np.float32)),
    ],
)
def test_what_is_no_number_is_refused_by_name(kind, name, values):
    expected = f"{kind} found the input {name}, which is not one number a row, expected numbers alone: half way between"
    with pytest.raises(DataError, match=expected):
        synthetic_positives(samples(**{name: values}), kind, 2, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_positives_are_refused(kind):
    with pytest.raises(DataError, match=f"{kind} found 5 positives, expected more than 5: new ones lie between"):
        synthetic_positives(samples(np.arange(N) < 5), kind, 2, seed=0)


def test_what_the_library_cannot_make_is_said():
    """Where positives live among themselves, none is near a negative."""
    apart = np.arange(N) < 30
    with pytest.raises(DataError, match=r"adasyn could make no positives: .*; use smote"):
        synthetic_positives(samples(apart, **{"user.age": 1e6 * apart.astype(np.float32)}), "adasyn", 2, seed=0)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imblearn.over_sampling", None)
    with pytest.raises(ConfigError, match=r"smote needs imbalanced-learn; run pip install 'recsys\[imbalance\]'"):
        synthetic_positives(samples(), "smote", 2, seed=0)
