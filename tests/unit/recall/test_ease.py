import numpy as np
import pytest

from recsys.errors import DataError
from recsys.features.batch import QueryBatch
from recsys.features.history import Events, Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.ease import fit
from recsys.recall.settings.neighbours import EASEConfig

CONTEXT = FitContext(0, None, None, None, None)
USERS, ITEMS = 40, 12


def data(rng, unknown=()):
    """Random users; the items named have no event."""
    seen = rng.random((USERS, ITEMS)) < rng.uniform(0.1, 0.6, ITEMS)
    seen[:, list(unknown)] = False
    user, item = (part.astype(np.int32) for part in np.nonzero(seen))
    time = np.arange(len(item), dtype=np.int64)
    histories = Histories.build(Events(user, item, time, time >= 0, np.zeros(len(item), np.int8)), USERS)
    return seen.astype(float), TrainingData(histories, time, {}, {}, (), (), ITEMS, True, 0)


def weights(config, training):
    return fit(config, training, CONTEXT)._weights.toarray()


def regressions(seen, l2):
    """Each item's ridge regression on the others, one at a time."""
    found = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        others = np.delete(np.arange(ITEMS), item)
        x, y = seen[:, others], seen[:, item]
        found[others, item] = np.linalg.solve(x.T @ x + l2 * np.eye(len(others)), x.T @ y)
    return found


@pytest.mark.parametrize("l2", [0.5, 20.0])
@pytest.mark.parametrize("unknown", [(), (0, 5, ITEMS - 1)])
def test_it_is_the_ridge_regression_of_each_item_on_the_others(l2, unknown):
    seen, training = data(np.random.default_rng(3), unknown)
    found = weights(EASEConfig(kind="ease", l2=l2), training)
    np.testing.assert_allclose(found, regressions(seen, l2), atol=1e-6)
    assert not found[:, list(unknown)].any()


def test_dropout_is_a_regression_on_inputs_that_are_dropped_at_random():
    seen, training = data(np.random.default_rng(8))
    found = weights(EASEConfig(kind="ease", l2=0.5, dropout=0.4), training)
    rng, copies = np.random.default_rng(9), 4000
    gram, target = np.zeros((ITEMS, ITEMS)), np.zeros((ITEMS, ITEMS))
    for _ in range(copies):
        # What is kept weighs more, so that its expectation is the input.
        dropped = seen * (rng.random(seen.shape) >= 0.4) / 0.6
        gram += dropped.T @ dropped / copies
        target += dropped.T @ seen / copies
    expected = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        others = np.delete(np.arange(ITEMS), item)
        ridge = gram[np.ix_(others, others)] + 0.5 * np.eye(len(others))
        expected[others, item] = np.linalg.solve(ridge, target[others, item])
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_users_weigh_by_their_number_of_items_and_items_by_their_count():
    seen, training = data(np.random.default_rng(7))
    found = weights(EASEConfig(kind="ease", l2=0.5, user_penalty=0.25, popularity_penalty=0.3), training)
    expected = regressions(seen / np.maximum(seen.sum(1, keepdims=True), 1) ** 0.25, 0.5)
    np.testing.assert_allclose(found, expected / seen.sum(0) ** 0.3, atol=1e-6)


def test_single_precision_and_small_blocks_give_the_same(monkeypatch):
    monkeypatch.setattr("recsys.recall.ease._DOUBLE", 0)
    monkeypatch.setattr("recsys.recall.ease.BLOCK", 5)
    seen, training = data(np.random.default_rng(4))
    found = weights(EASEConfig(kind="ease", l2=2.0), training)
    np.testing.assert_allclose(found, regressions(seen, 2.0), atol=1e-4)


def test_the_largest_weights_are_kept_whatever_their_sign():
    seen, training = data(np.random.default_rng(5))
    full = regressions(seen, 1.0)
    found = weights(EASEConfig(kind="ease", l2=1.0, neighbours=4), training)
    for row, kept in zip(full, found, strict=True):
        strongest = np.argsort(-np.abs(row))[:4]
        assert set(np.flatnonzero(kept)) == set(strongest)
        np.testing.assert_allclose(kept[strongest], row[strongest], atol=1e-6)
    assert (found < 0).any()


def test_with_positive_weights_alone_none_is_crowded_out():
    seen, training = data(np.random.default_rng(5))
    full = regressions(seen, 1.0)
    found = weights(EASEConfig(kind="ease", l2=1.0, neighbours=4, negative_weights=False), training)
    for row, kept in zip(full, found, strict=True):
        strongest = [item for item in np.argsort(-row)[:4] if row[item] > 0]
        assert set(np.flatnonzero(kept)) == set(strongest)
        np.testing.assert_allclose(kept[strongest], row[strongest], atol=1e-6)


def test_recent_items_weigh_more():
    _, training = data(np.random.default_rng(6))
    retriever = fit(EASEConfig(kind="ease", l2=1.0, query_decay=0.5), training, CONTEXT)
    table = retriever._weights.toarray()
    asked = QueryBatch(np.array([[2, 7, 4]], np.int32), np.array([3], np.int32), {})
    expected = table[4] + 0.5 * table[7] + 0.25 * table[2]
    codes, scores = retriever.retrieve(asked, ITEMS)
    positive = np.flatnonzero(expected > 0)
    assert codes[0, : len(positive)].tolist() == positive[np.argsort(-expected[positive])].tolist()
    np.testing.assert_allclose(scores[0, : len(positive)], -np.sort(-expected[positive]), rtol=1e-5)
    assert (codes[0, len(positive) :] == -1).all()


def test_a_penalty_too_small_for_the_precision_is_refused(monkeypatch):
    monkeypatch.setattr("recsys.recall.ease._DOUBLE", 0)
    user, item = np.repeat(np.arange(USERS, dtype=np.int32), ITEMS), np.tile(np.arange(ITEMS, dtype=np.int32), USERS)
    time = np.arange(len(item), dtype=np.int64)
    histories = Histories.build(Events(user, item, time, time >= 0, np.zeros(len(item), np.int8)), USERS)
    training = TrainingData(histories, time, {}, {}, (), (), ITEMS, True, 0)
    with pytest.raises(DataError, match="cannot be inverted with l2 = 1e-12; raise l2"):
        fit(EASEConfig(kind="ease", l2=1e-12), training, CONTEXT)
