"""ALS and BPR: what they minimise, and that unseen users are answered."""

import numpy as np
import pytest

from recsys.features.batch import QueryBatch
from recsys.features.history import Events, Histories
from recsys.recall.als import factorise
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.registry import fit_route
from recsys.recall.settings.factors import ALSConfig, BPRConfig

USERS, ITEMS, DIM = 60, 20, 4
RNG = np.random.default_rng(2)
SEEN = RNG.random((USERS, ITEMS)) < np.where(np.arange(USERS)[:, None] % 2 == np.arange(ITEMS) % 2, 0.6, 0.05)


@pytest.fixture(scope="module")
def training():
    user, item = (column.astype(np.int32) for column in np.nonzero(SEEN))
    events = Events(user, item, np.zeros(len(user), np.int64), np.ones(len(user), bool), np.zeros(len(user), np.int8))
    return TrainingData(Histories.build(events, USERS), events.time, {}, {}, (), (), ITEMS, False, 0)


def scores(retriever, training):
    """What the users get for every item."""
    history, lengths = training.histories.batch(np.arange(USERS))
    everything = np.tile(np.arange(ITEMS, dtype=np.int32), (USERS, 1))
    return retriever.score(QueryBatch(history, lengths, {}), everything)


def test_als_ends_where_the_gradient_of_its_objective_vanishes(training):
    config = ALSConfig(
        kind="als", embedding_dim=DIM, epochs=200, alpha=4, regularisation=2, user_penalty=0.5, popularity_penalty=0.3
    )
    y = factorise(config, training, 0)[0]
    # The users' factors, from what they answer with.
    x = scores(fit_route(config, training, FitContext(0, None, None, None, None)), training) @ np.linalg.pinv(y.T)
    extra = SEEN * SEEN.sum(1, keepdims=True) ** -0.5 * np.maximum(SEEN.sum(0), 1) ** -0.3
    extra *= 4 / extra[SEEN].mean()
    residual = (1 + extra) * (SEEN - x @ y.T)
    for gradient, size in ((2 * x - residual @ y, x), (2 * y - residual.T @ x, y)):
        assert np.abs(gradient).max() < 0.02 * np.abs(2 * size).max()


@pytest.mark.parametrize(
    "config", [ALSConfig(kind="als", embedding_dim=DIM), BPRConfig(kind="bpr", embedding_dim=8, epochs=200)]
)
def test_an_unseen_user_is_folded_in(training, config):
    retriever = fit_route(config, training, FitContext(0, None, None, None, None))
    codes, _ = retriever.retrieve(QueryBatch(np.array([[1, 3]], np.int32), np.array([2], np.int32), {}), 6)
    assert (codes % 2 == 1).mean() > 0.8
    nobody, _ = retriever.retrieve(QueryBatch(np.array([[-1]], np.int32), np.array([0], np.int32), {}), 6)
    assert (nobody == -1).all()


def test_a_boost_multiplies_scores_by_a_power_of_the_count(training):
    config = ALSConfig(kind="als", embedding_dim=DIM)
    plain, boosted = (
        scores(fit_route(one, training, FitContext(0, None, None, None, None)), training)
        for one in (config, config.model_copy(update={"popularity_boost": 0.5}))
    )
    np.testing.assert_allclose(boosted, plain * np.maximum(SEEN.sum(0), 1) ** 0.5, rtol=1e-4, atol=1e-5)
