"""A sparse log, in which many items of the catalogue have no training event: what a list loses to them."""

import numpy as np
import pytest

from recsys.features.batch import QueryBatch
from recsys.features.history import Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.item2vec import fit
from recsys.recall.settings.sequences import Item2VecConfig
from recsys.recall.word2vec.corpus import MemoryCorpus
from recsys.recall.word2vec.train import train_word2vec

THEMES, PER_THEME, UNSEEN = 60, 10, 400
"""Sessions stay within a theme; as many items again are in the catalogue, but in no session."""
ITEMS = THEMES * PER_THEME + UNSEEN
SESSIONS, STEPS = 500, 5


@pytest.fixture(scope="module", params=[1, 2])
def log(request):
    """Training data, and the last item of each session, which is held out. Unseen items have the smaller codes."""
    rng = np.random.default_rng(request.param)
    themes = rng.integers(0, THEMES, SESSIONS)
    orders = np.argsort(rng.random((SESSIONS, PER_THEME)), axis=1)[:, : STEPS + 1]
    items = (UNSEEN + themes[:, None] * PER_THEME + orders).astype(np.int32)
    past = np.ascontiguousarray(items[:, :-1]).ravel()
    histories = Histories(np.arange(SESSIONS + 1) * STEPS, past, np.arange(len(past)))
    data = TrainingData(histories, np.zeros(len(past), np.int64), {}, {}, (), (), ITEMS, True, 0)
    return data, items[:, -1]


def recall(codes, wanted):
    return float((codes == wanted[:, None]).any(axis=1).mean())


def test_items_without_events_take_no_place_of_those_with(log):
    data, wanted = log
    training = {"embedding_dim": 16, "num_negatives": 20, "device": "cpu"}
    config = Item2VecConfig(kind="item2vec", candidates="output", query_decay=1, training=training)
    retriever = fit(config, data, FitContext(3, None, lambda name, value, step: None, None, None))
    history, lengths = data.histories.batch(np.arange(SESSIONS))
    codes, _ = retriever.retrieve(QueryBatch(history, lengths, {}), 20)
    # Once more by hand, from the same training: with and without the items that nobody has had.
    corpus = MemoryCorpus(data.histories.items, data.histories.offsets)
    trained = train_word2vec(corpus, ITEMS, config.training, seed=3)
    scores = trained.vectors[history].mean(axis=1) @ trained.output_vectors.T
    assert (scores[:, :UNSEEN] == 0).all()
    everything = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    scores[:, data.counts == 0] = -np.inf
    known = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    assert recall(codes, wanted) == pytest.approx(recall(known, wanted), abs=0.01)
    # Of 1,000 items 20 are .02; with the unseen ones searched, too, the lists were no better than that.
    assert recall(codes, wanted) > 0.4 > 4 * recall(everything, wanted)
