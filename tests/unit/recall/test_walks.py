"""Random walks against the probabilities of the papers."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from recsys.errors import DataError
from recsys.features.history import Events, Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.item2vec import ShuffledCorpus
from recsys.recall.registry import fit_route
from recsys.recall.settings.sequences import DeepWalkConfig, Item2VecConfig
from recsys.recall.walks import WalkCorpus, _aliases, item_graph

EDGES = np.array(
    [
        [0, 3, 1, 0, 0],
        [3, 0, 2, 1, 0],
        [1, 2, 0, 0, 4],
        [0, 1, 0, 0, 0],
        [0, 0, 4, 0, 0],
    ],
    float,
)


def training(sequences, items, ordered=True):
    user = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences]).astype(np.int32)
    item = np.concatenate([np.array(s, np.int32) for s in sequences])
    time = np.arange(len(item), dtype=np.int64)
    events = Events(user, item, time, np.ones(len(item), bool), np.zeros(len(item), np.int8))
    return TrainingData(Histories.build(events, len(sequences)), time, {}, {}, (), (), items, ordered, 0)


def test_alias_tables_hold_the_weights():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 30, 50)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    weights = rng.random(offsets[-1]) ** 3 + 1e-3
    keep, alias = _aliases(offsets, weights)
    for begin, end in pairwise(offsets):
        held = np.zeros(end - begin)
        for slot in range(end - begin):
            held[slot] += min(keep[begin + slot], 1)
            held[alias[begin + slot]] += max(1 - keep[begin + slot], 0)
        if end > begin:
            np.testing.assert_allclose(held / (end - begin), weights[begin:end] / weights[begin:end].sum(), atol=1e-9)


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (0.25, 4.0), (5.0, 0.2)])
def test_second_steps_are_drawn_with_the_factors_of_node2vec(p, q):
    corpus = WalkCorpus(sparse.csr_array(EDGES), walks=40_000, length=3, p=p, q=q, seed=1)
    walks = np.concatenate([chunk.tokens.reshape(-1, 3) for chunk in corpus.chunks()])
    assert len(walks) == 5 * 40_000
    first = walks[walks[:, 0] == 0]
    np.testing.assert_allclose(np.bincount(first[:, 1], minlength=5) / len(first), EDGES[0] / 4, atol=0.01)
    for came, at in ((0, 1), (0, 2), (2, 1)):
        factor = np.where(EDGES[came] > 0, 1.0, 1 / q)
        factor[came] = 1 / p
        expected = EDGES[at] * factor
        rows = walks[(walks[:, 0] == came) & (walks[:, 1] == at)]
        found = np.bincount(rows[:, 2], minlength=5) / len(rows)
        np.testing.assert_allclose(found, expected / expected.sum(), atol=0.015)


def test_the_graph_counts_who_follows_whom():
    graph = item_graph(training([[0, 1, 1, 2], [2, 1], [3]], 5), 0.0).toarray()
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = 1
    expected[1, 2] = expected[2, 1] = 2
    assert graph.tolist() == expected.tolist()


def test_without_order_items_of_a_user_are_joined_and_the_popular_end_weighs_less():
    data = training([[0, 1, 2], [0, 1]], 3, ordered=False)
    even, penalised = item_graph(data, 0.0).toarray(), item_graph(data, 1.0).toarray()
    assert even[0, 1] == pytest.approx(3**-0.5 + 2**-0.5)
    assert even[0, 2] == pytest.approx(3**-0.5)
    np.testing.assert_allclose(penalised, even / np.array([2, 2, 1]), rtol=1e-6)


def test_a_shuffled_corpus_gives_the_same_sets_in_another_order_each_time():
    histories = training([list(range(10)), [3, 4]], 12).histories
    corpus = ShuffledCorpus(histories, np.random.default_rng(0))
    (first,), (second,) = list(corpus.chunks()), list(corpus.chunks())
    assert first.tokens.tolist() != second.tokens.tolist()
    for chunk in (first, second):
        assert sorted(chunk.tokens[:10].tolist()) == list(range(10))
        assert sorted(chunk.tokens[10:].tolist()) == [3, 4]


def test_items_below_the_minimum_are_not_found_by_cosine(tmp_path):
    data = training([[0, 1, 0, 1, 2]] * 3, 4)
    context = FitContext(0, tmp_path, lambda name, value, step: None, print, None)
    config = Item2VecConfig(kind="item2vec", training={"min_count": 100})
    with pytest.raises(DataError, match="no token occurs 100 times"):
        fit_route(config, data, context)


def test_what_is_left_out_of_the_training_has_the_routes_own_default():
    assert Item2VecConfig(kind="item2vec", training={"window": 3}).training.epochs == 20
    assert DeepWalkConfig(kind="deepwalk", training={"window": 3}).training.epochs == 2
