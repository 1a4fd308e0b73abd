"""What every recall route promises."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from recsys.errors import DataError
from recsys.features.batch import Field, QueryBatch
from recsys.features.history import Events, Histories
from recsys.recall.base import FitContext, ItemColumn, TrainingData
from recsys.recall.registry import ROUTES, fit_route
from recsys.recall.settings.content import BM25Config, SentenceConfig, TextVectorsConfig, TFIDFConfig
from recsys.recall.settings.factors import ALSConfig, BPRConfig
from recsys.recall.settings.neighbours import (
    EASEConfig,
    GraphFilterConfig,
    ItemCFConfig,
    SwingConfig,
    UserCFConfig,
)
from recsys.recall.settings.sequences import DeepWalkConfig, Item2VecConfig, Node2VecConfig
from recsys.recall.settings.static import FreshConfig, PopularConfig, SegmentPopularConfig, TrendingConfig
from recsys.recall.settings.two_tower import (
    DSSMConfig,
    FMConfig,
    GRU4RecConfig,
    SASRecConfig,
    SimpleXConfig,
    YouTubeDNNConfig,
)
from recsys.retrieval.registry import load_retriever, save_retriever

USERS, ITEMS, STEPS = 60, 22, 12
TOWERS = {"embedding_dim": 8, "history_length": 4, "dropout": 0.0, "item_dropout": 0.0}
EVENTS = {"epochs": 12, "batch_size": 64, "optimiser": {"learning_rate": 0.02}}
SEQUENCES = {"epochs": 25, "batch_size": 16, "optimiser": {"learning_rate": 0.02}}


def tower(model, **options):
    kind = model.model_fields["kind"].annotation.__args__[0]
    return model.model_validate({"kind": kind, "training": EVENTS, **TOWERS, **options})


WORDS = {"embedding_dim": 16, "window": 2, "epochs": 40, "learning_rate": 0.05}
CONFIGS = {
    "popular": PopularConfig(kind="popular"),
    "segment_popular": SegmentPopularConfig(kind="segment_popular", field="group"),
    "fresh": FreshConfig(kind="fresh"),
    "trending": TrendingConfig(kind="trending", days=0.001, baseline_days=0.01),
    "itemcf": ItemCFConfig(kind="itemcf"),
    "usercf": UserCFConfig(kind="usercf"),
    "swing": SwingConfig(kind="swing"),
    "graph_filter": GraphFilterConfig(kind="graph_filter", rank=8, query_decay=0.8),
    "ease": EASEConfig(kind="ease", l2=10.0, query_decay=0.8),
    "item2vec": Item2VecConfig(kind="item2vec", training=WORDS, query_decay=0.8),
    "deepwalk": DeepWalkConfig(kind="deepwalk", training=WORDS, query_decay=0.8),
    "node2vec": Node2VecConfig(kind="node2vec", training=WORDS, query_decay=0.8),
    "bm25": BM25Config(kind="bm25"),
    "tfidf": TFIDFConfig(kind="tfidf"),
    "text_vectors": TextVectorsConfig(kind="text_vectors", training=WORDS, subwords={}),
    "sentence": SentenceConfig(kind="sentence", model="model"),
    "als": ALSConfig(kind="als", embedding_dim=8),
    "bpr": BPRConfig(kind="bpr", embedding_dim=16),
    "dssm": tower(DSSMConfig, hidden=[8], min_history=1),
    "youtube_dnn": tower(YouTubeDNNConfig, hidden=[8], history_length=2, negatives={"kind": "sampled", "count": 16}),
    "simplex": tower(SimpleXConfig, history_length=2, negatives={"kind": "sampled", "count": 16}),
    "fm": tower(FMConfig, history_length=2),
    "gru4rec": tower(GRU4RecConfig, training=SEQUENCES),
    "sasrec": tower(SASRecConfig, training=SEQUENCES),
}
STATIC = ("popular", "segment_popular", "fresh", "trending")
# A low-pass filter knows who is near, not who is next; which of its equal singular vectors it finds is up to LAPACK.
ORDERLESS = ("bm25", "tfidf", "text_vectors", "sentence", "als", "bpr", "simplex", "youtube_dnn", "fm", "graph_filter")


def test_every_route_is_held_to_the_contract():
    assert set(CONFIGS) == set(ROUTES)


def training_data():
    """Users walk one of two circles of ten items; item 20 is nobody's, item 21 everybody's first; one user is idle."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS - 1):
        start, circle = rng.integers(10), 10 * (user % 2)
        rows += [(user, 21)] + [(user, circle + (start + step) % 10) for step in range(STEPS)]
    user, item = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    time = np.arange(len(rows), dtype=np.int64) * 1_000_000
    events = Events(user, item, time, np.ones(len(rows), bool), np.zeros(len(rows), np.int8))
    histories = Histories.build(events, USERS)
    for shared in (histories.offsets, histories.items, histories.positions):
        shared.flags.writeable = False
    colours = [("red", "blue")[item // 10] for item in range(20)]
    titles = [f"{colour} {colour}{at % 10} {colour}{(at + 1) % 10}" for at, colour in enumerate(colours)]
    titles += [None, "welcome"]
    return TrainingData(
        histories=histories,
        time=time[histories.positions],
        user_features={"user.group": np.full(USERS, 2)},
        item_features={"item.item_id": np.arange(ITEMS) + 2},
        user_fields=(Field("user.group", 3, 1, "user.group"),),
        item_fields=(Field("item.item_id", ITEMS + 2, 1, "item.item_id"),),
        n_items=ITEMS,
        ordered=True,
        now=int(time.max()),
        item_columns=(ItemColumn("title", "text", pa.array(titles, pa.large_string())),),
    )


def context(folder):
    from recsys.release.export import export_onnx

    def export(module, spec, path):
        export_onnx(module, spec.fields, spec.history_length, path, output="vector")

    folder.mkdir(exist_ok=True)
    return FitContext(7, folder, lambda name, value, step: None, lambda text: None, export)


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def fitted(request, tmp_path_factory, word_model):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, fit_route(CONFIGS[request.param], training_data(), context(folder / "first"))


def asked():
    history = np.array([[3, 4, 5], [13, 14, 15], [-1, -1, -1], [20, -1, -1]], np.int32)
    return QueryBatch(history, np.array([3, 3, 0, 1], np.int32), {"user.group": np.full(4, 2)})


def test_it_answers_every_request(fitted):
    _, retriever = fitted
    codes, scores = retriever.retrieve(asked(), 5)
    assert codes.shape == (4, 5)
    assert np.isfinite(scores[codes >= 0]).all()


def test_the_next_items_of_the_circle_come_first(fitted):
    kind, retriever = fitted
    codes, _ = retriever.retrieve(asked(), 6)
    if kind not in STATIC:
        # Those of the history itself are the funnel's to leave out.
        if kind not in ORDERLESS:
            assert {6, 7} <= set(codes[0].tolist())
            assert {16, 17} <= set(codes[1].tolist())
        own, other = ((codes[0] // 10 == circle).sum() for circle in (0, 1))
        assert own > other
    else:
        assert codes[0].tolist() == codes[1].tolist() == codes[2].tolist()
        assert kind not in ("popular", "segment_popular") or codes[0, 0] == 21


def test_same_seed_same_answers(fitted, assert_same_lists, tmp_path):
    kind, retriever = fitted
    again = fit_route(CONFIGS[kind], training_data(), context(tmp_path / "again"))
    assert_same_lists(again.retrieve(asked(), 8), retriever.retrieve(asked(), 8))


def test_it_serves_after_a_round_trip(fitted, assert_same_lists, tmp_path):
    _, retriever = fitted
    save_retriever(retriever, tmp_path)
    again = load_retriever(tmp_path, training_data().item_features)
    assert_same_lists(again.retrieve(asked(), 8), retriever.retrieve(asked(), 8))


def test_users_without_enough_events_are_named(tmp_path):
    data = training_data()
    short = dataclasses.replace(
        data,
        histories=Histories(np.arange(USERS + 1), data.histories.items[:USERS], data.histories.positions[:USERS]),
        time=data.time[:USERS],
    )
    with pytest.raises(DataError, match="no user has more than min_history = 1 events"):
        fit_route(CONFIGS["dssm"], short, context(tmp_path))


def test_a_two_tower_without_item_fields_is_refused(tmp_path):
    with pytest.raises(DataError, match="found no item field; name at least item_id"):
        fit_route(CONFIGS["dssm"], dataclasses.replace(training_data(), item_fields=()), context(tmp_path))
