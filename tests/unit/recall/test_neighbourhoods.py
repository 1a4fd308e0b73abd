"""UserCF, Swing and the graph filter against the formulas of their papers, written as loops."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from recsys.features.batch import QueryBatch
from recsys.features.history import Events, Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.graph_filter import right_singular_vectors
from recsys.recall.registry import fit_route
from recsys.recall.settings.neighbours import GraphFilterConfig, ItemCFConfig, SwingConfig, UserCFConfig

USERS, ITEMS = 30, 12
RNG = np.random.default_rng(5)
SEEN = (RNG.random((USERS, ITEMS)) < 0.35) & (np.arange(ITEMS) < ITEMS - 1)
SEEN[3] = False


@pytest.fixture(scope="module")
def training():
    user, item = (column.astype(np.int32) for column in np.nonzero(SEEN))
    events = Events(user, item, np.zeros(len(user), np.int64), np.ones(len(user), bool), np.zeros(len(user), np.int8))
    histories = Histories.build(events, USERS)
    return TrainingData(histories, events.time, {}, {}, (), (), ITEMS, False, 0)


def scored(config, training):
    """`(U, N)` what the route gives every user for every item; 0 where it gives nothing."""
    retriever = fit_route(config, training, FitContext(0, None, None, None, None))
    history, lengths = training.histories.batch(np.arange(USERS))
    everything = np.broadcast_to(np.arange(ITEMS, dtype=np.int32), (USERS, ITEMS))
    found = retriever.score(QueryBatch(history, lengths, {}), everything)
    return np.where(np.isfinite(found), found, 0.0)


def test_usercf_sums_what_similar_users_have(training):
    config = UserCFConfig(kind="usercf", user_penalty=0.7, popularity_penalty=0.4)
    expected = np.zeros((USERS, ITEMS))
    count = SEEN.sum(0)
    for u in range(USERS):
        for v in range(USERS):
            for j in np.flatnonzero(SEEN[v]):
                # The item itself is no evidence of itself.
                shared = [i for i in np.flatnonzero(SEEN[u] & SEEN[v]) if i != j]
                expected[u, j] += sum(count[i] ** -0.4 for i in shared) / SEEN[v].sum() ** 0.7
    assert_allclose(scored(config, training), expected, rtol=1e-5)


def test_itemcf_without_order_divides_by_the_activity_of_users(training):
    config = ItemCFConfig(
        kind="itemcf", user_penalty=0.5, popularity_penalty=0.5, distance_decay=1, query_decay=1, neighbours=ITEMS
    )
    weights = np.zeros((ITEMS, ITEMS))
    count = np.maximum(SEEN.sum(0), 1)
    for row in SEEN:
        for i, j in combinations(np.flatnonzero(row), 2):
            weights[i, j] += row.sum() ** -0.5 / (count[i] * count[j]) ** 0.5
    assert_allclose(scored(config, training), SEEN @ (weights + weights.T), rtol=1e-5)


@pytest.mark.parametrize("most", [1000, 5])
def test_swing_weighs_pairs_of_users_by_how_little_else_they_share(training, most):
    config = SwingConfig(kind="swing", alpha=0.5, popularity_penalty=0.2, max_items=most, max_users=USERS)
    seen = SEEN & (SEEN.sum(1, keepdims=True) <= most)
    weights = np.zeros((ITEMS, ITEMS))
    count = np.maximum(SEEN.sum(0), 1)
    for u, v in combinations(range(USERS), 2):
        shared = np.flatnonzero(seen[u] & seen[v])
        for i, j in combinations(shared, 2):
            weights[i, j] += (seen[u].sum() * seen[v].sum()) ** -0.5 / (0.5 + len(shared))
    weights = (weights + weights.T) / (count[:, None] * count[None]) ** 0.2
    assert_allclose(scored(config, training), SEEN @ weights, rtol=1e-5)


def test_swing_keeps_the_strongest_and_draws_users(training):
    few = SwingConfig(kind="swing", max_users=4, neighbours=3)
    found = scored(few, training)
    assert_allclose(scored(few, training), found, rtol=1e-6)
    assert found.sum() < scored(SwingConfig(kind="swing"), training).sum()


def test_the_graph_filter_is_that_of_the_paper(training):
    config = GraphFilterConfig(kind="graph_filter", rank=4, ideal_weight=0.3)
    users, items = np.maximum(SEEN.sum(1), 1), np.maximum(SEEN.sum(0), 1)
    graph = SEEN / np.sqrt(users[:, None] * items[None])
    _, _, right = np.linalg.svd(graph)
    ideal = right[:4].T @ right[:4]
    weights = (graph.T @ graph + 0.3 * ideal) * np.sqrt(items[None] / items[:, None])
    np.fill_diagonal(weights, 0)
    expected = SEEN @ weights
    assert_allclose(scored(config, training), np.where(expected > 0, expected, 0), rtol=1e-3, atol=1e-5)


def test_singular_vectors_are_those_of_lapack():
    matrix = sparse.random_array((80, 50), density=0.2, rng=np.random.default_rng(0), dtype=np.float32)
    found = right_singular_vectors(sparse.csr_array(matrix), 5, np.random.default_rng(1))
    _, _, right = np.linalg.svd(matrix.toarray())
    assert_allclose(np.abs(np.sum(found * right[:5].T, axis=0)), 1, atol=0.02)
    wide = right_singular_vectors(sparse.csr_array(matrix), 200, np.random.default_rng(1))
    assert wide.shape == (50, 50)
    assert_allclose(wide.T @ wide, np.eye(50), atol=1e-4)
