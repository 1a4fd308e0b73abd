import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.features.batch import QueryBatch
from recsys.features.history import Events, Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.itemcf import fit
from recsys.recall.popular import fit as fit_popular
from recsys.recall.settings.neighbours import ItemCFConfig
from recsys.recall.settings.static import PopularConfig

ITEMS = 6
DAY = 86_400_000_000


def data(sequences, ordered=True, time=None):
    user = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences]).astype(np.int32)
    item = np.array([i for s in sequences for i in s], np.int32)
    when = np.arange(len(item), dtype=np.int64) if time is None else np.array(time, np.int64)
    events = Events(user, item, when, np.ones(len(item), bool), np.zeros(len(item), np.int8))
    histories = Histories.build(events, len(sequences))
    return TrainingData(histories, when, {}, {}, (), (), ITEMS, ordered, int(when.max(initial=0)))


def weights(config, training):
    """`(N, N)`: a history of one item asks for its row."""
    retriever = fit(config, training, FitContext(0, None, None, None, None))
    one = QueryBatch(np.arange(ITEMS, dtype=np.int32)[:, None], np.ones(ITEMS, np.int32), {})
    everything = np.broadcast_to(np.arange(ITEMS, dtype=np.int32), (ITEMS, ITEMS))
    found = retriever.score(one, everything)
    return np.where(np.isfinite(found), found, 0.0)


def by_hand(config, sequences):
    table = np.zeros((ITEMS, ITEMS))
    count = np.zeros(ITEMS)
    for sequence in sequences:
        for a, first in enumerate(sequence):
            count[first] += 1
            for b in range(a + 1, min(a + config.window + 1, len(sequence))):
                if sequence[b] != first:
                    near = config.distance_decay ** (b - a - 1)
                    table[first, sequence[b]] += near
                    table[sequence[b], first] += config.backward * near
    scale = np.maximum(count, 1) ** -config.popularity_penalty
    return table * scale[:, None] * scale


@given(
    st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=8), min_size=1, max_size=5).filter(any),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=40, deadline=None)
def test_weights_are_those_of_the_plain_loops(sequences, window, backward, penalty):
    config = ItemCFConfig(
        kind="itemcf", window=window, distance_decay=0.5, backward=backward, popularity_penalty=penalty
    )
    np.testing.assert_allclose(weights(config, data(sequences)), by_hand(config, sequences), rtol=1e-5, atol=1e-7)


def test_without_order_every_pair_counts_once_both_ways():
    config = ItemCFConfig(kind="itemcf", distance_decay=1, query_decay=1, popularity_penalty=0)
    found = weights(config, data([[0, 1, 1], [1, 0], [2]], ordered=False))
    assert found[0, 1] == found[1, 0] == 2
    assert found.sum() == 4


def test_only_the_strongest_neighbours_are_kept_ties_to_the_smaller_code():
    config = ItemCFConfig(kind="itemcf", window=1, popularity_penalty=0, backward=0, neighbours=2)
    found = weights(config, data([[0, 5], [0, 3], [0, 1], [0, 4], [0, 4]]))
    assert np.flatnonzero(found[0]).tolist() == [1, 4]


def test_recent_items_weigh_more():
    config = ItemCFConfig(kind="itemcf", window=1, popularity_penalty=0, backward=0, query_decay=0.5)
    retriever = fit(config, data([[0, 1], [2, 3]]), FitContext(0, None, None, None, None))
    asked = QueryBatch(np.array([[0, 2]], np.int32), np.array([2], np.int32), {})
    codes, scores = retriever.retrieve(asked, 3)
    assert codes.tolist() == [[3, 1, -1]]
    assert scores[0, :2].tolist() == [1.0, 0.5]


@pytest.mark.parametrize(("half_life", "expected"), [(None, [2.0, 1.0]), (1.0, [1.0 + 0.25, 0.5])])
def test_popularity_halves_every_half_life(half_life, expected):
    training = data([[0, 1, 0]], time=[0, DAY, 2 * DAY])
    config = PopularConfig(kind="popular", half_life_days=half_life)
    retriever = fit_popular(config, dataclasses.replace(training, now=2 * DAY), None)
    asked = QueryBatch(np.array([[-1]], np.int32), np.zeros(1, np.int32), {})
    codes, scores = retriever.retrieve(asked, 3)
    assert codes.tolist() == [[0, 1, -1]]
    assert scores[0, :2].tolist() == expected
