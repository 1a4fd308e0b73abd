"""What every recall route promises."""

import dataclasses
import functools

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
from recsys.recall.settings.sequences import DeepWalkConfig, Item2VecConfig, Node2VecConfig, VectorsConfig
from recsys.recall.settings.static import FreshConfig, PopularConfig, SegmentPopularConfig, TrendingConfig
from recsys.recall.settings.two_tower import (
    DSSMConfig,
    FMConfig,
    GRU4RecConfig,
    SASRecConfig,
    SimpleXConfig,
    TwoTowerConfig,
    YouTubeDNNConfig,
)
from recsys.retrieval.registry import load_retriever, save_retriever

USERS, ITEMS, STEPS = 61, 26, 12
NOBODYS = (20, 22)
"""Items that no event and no text names; the second is out-of-vocabulary, too."""
ANNOUNCED = 23
"""Out-of-vocabulary and nobody's, but it has a title."""
FIRST, RARE, LONELY = 21, 24, 25
"""What all users begin with; what a single user has; what is all that a user has, and nobody else's."""
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
VARIANTS = {
    "item2vec_output": Item2VecConfig(kind="item2vec", candidates="output", training={**WORDS, "num_negatives": 20}),
    "item2vec_hierarchical": Item2VecConfig(kind="item2vec", training={**WORDS, "loss": "hierarchical_softmax"}),
    "item2vec_cbow": Item2VecConfig(kind="item2vec", training={**WORDS, "architecture": "cbow", "min_count": 2}),
    "deepwalk_output": DeepWalkConfig(kind="deepwalk", candidates="output", training={**WORDS, "min_count": 50}),
    "als_boosted": ALSConfig(kind="als", embedding_dim=8, popularity_boost=0.2),
    "dssm_from_users": tower(DSSMConfig, hidden=[], min_history=2, item_bias=True, negatives={"kind": "mixed"}),
    "dssm_warm": tower(
        DSSMConfig, encoder={"kind": "mean"}, similarity="dot", warm_start={"kind": "als", "embedding_dim": 8}
    ),
    "youtube_dnn_by_user": tower(
        YouTubeDNNConfig, encoder={"kind": "mean"}, hidden=[], negatives={"kind": "all"}, requests="user"
    ),
}
"""The same routes with settings that decide what is trained of an item."""
STATIC = ("popular", "segment_popular", "fresh", "trending")
CONTENT = ("bm25", "tfidf", "text_vectors", "sentence")
# A low-pass filter knows who is near, not who is next; which of its equal singular vectors it finds is up to LAPACK.
ORDERLESS = ("bm25", "tfidf", "text_vectors", "sentence", "als", "bpr", "simplex", "youtube_dnn", "fm", "graph_filter")


def test_every_route_is_held_to_the_contract():
    assert set(CONFIGS) == set(ROUTES)


def training_data():
    """Users walk one of two circles of ten items, one is idle, one has a single item; see the constants above."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS - 2):
        start, circle = rng.integers(10), 10 * (user % 2)
        rows += [(user, FIRST)] + [(user, circle + (start + step) % 10) for step in range(STEPS)]
        rows += [(user, RARE)] if user == 0 else [(USERS - 2, LONELY)] if user == 1 else []
    user, item = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    time = np.arange(len(rows), dtype=np.int64) * 1_000_000
    events = Events(user, item, time, np.ones(len(rows), bool), np.zeros(len(rows), np.int8))
    histories = Histories.build(events, USERS)
    for shared in (histories.offsets, histories.items, histories.positions):
        shared.flags.writeable = False
    colours = [("red", "blue")[item // 10] for item in range(20)]
    titles = [f"{colour} {colour}{at % 10} {colour}{(at + 1) % 10}" for at, colour in enumerate(colours)]
    titles += [None, "welcome", None, "red red3 red4", None, None]
    ids = np.arange(ITEMS) + 2
    ids[[NOBODYS[1], ANNOUNCED]] = 1
    return TrainingData(
        histories=histories,
        time=time[histories.positions],
        user_features={"user.group": np.full(USERS, 2)},
        item_features={"item.item_id": ids},
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
def fitted(request, fit_once):
    return request.param, fit_once(request.param)


@pytest.fixture(scope="module", params=sorted(CONFIGS | VARIANTS))
def fitted_any(request, fit_once):
    return request.param, fit_once(request.param)


@pytest.fixture(scope="module")
def fit_once(tmp_path_factory, word_model):
    return functools.cache(
        lambda name: fit_route((CONFIGS | VARIANTS)[name], training_data(), context(tmp_path_factory.mktemp(name)))
    )


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
        else:
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


def unknown_to(name):
    """Items that a route has nothing to go by for."""
    config = (CONFIGS | VARIANTS)[name]
    if name in CONTENT:
        return {*NOBODYS, RARE, LONELY}
    unknown = {*NOBODYS, ANNOUNCED}
    if isinstance(config, VectorsConfig):
        # Alone it is in nobody's context.
        return unknown | {LONELY} | ({RARE} if config.training.min_count > 1 else set())
    if isinstance(config, TwoTowerConfig) and config.warm_start is None:
        # What stands first is never asked for; of users who ask with one half for the other it may be.
        return unknown | {LONELY} | (set() if config.requests == "user" else {FIRST})
    return unknown


def everything(count):
    return np.broadcast_to(np.arange(ITEMS, dtype=np.int32), (count, ITEMS))


def test_items_that_it_never_learned_are_never_returned(fitted_any):
    name, retriever = fitted_any
    unknown = unknown_to(name)
    codes, _ = retriever.retrieve(asked(), ITEMS)
    assert not set(codes.ravel().tolist()) & unknown
    some = np.array(sorted({*unknown, 4, 14}), np.int32)
    codes, scores = retriever.retrieve(asked(), ITEMS, allowed=some)
    assert set(codes.ravel().tolist()) <= {-1, 4, 14}
    assert (np.isneginf(scores) == (codes < 0)).all()
    assert np.isneginf(retriever.score(asked(), everything(4))[:, sorted(unknown)]).all()


def test_vectors_are_for_all_the_others(fitted_any):
    """Where a request has a vector, the route has a score for every item that it knows."""
    name, retriever = fitted_any
    if retriever.kind == "vector":
        finite = np.isfinite(retriever.score(asked(), everything(4)))[0]
        missing = set(np.flatnonzero(~finite).tolist())
        assert missing == unknown_to(name)


def test_a_long_list_has_what_has_a_score(fitted_any):
    _, retriever = fitted_any
    codes, _ = retriever.retrieve(asked(), ITEMS)
    finite = np.isfinite(retriever.score(asked(), everything(4)))
    for row, scored in zip(codes, finite, strict=True):
        assert sorted(row[row >= 0].tolist()) == np.flatnonzero(scored).tolist()


def test_requests_that_say_nothing_are_not_answered(fitted_any):
    """No history and no known group, or a history of items that say nothing."""
    name, retriever = fitted_any
    history = np.array([[-1, -1], [NOBODYS[1], -1], [NOBODYS[1], NOBODYS[1]]], np.int32)
    silent = QueryBatch(history, np.array([0, 1, 2], np.int32), {"user.group": np.array([1, 1, 0])})
    codes, scores = retriever.retrieve(silent, 5)
    if name in STATIC:
        assert (codes[:, 0] >= 0).all()
    else:
        assert (codes == -1).all()
        assert np.isneginf(scores).all()
        assert np.isneginf(retriever.score(silent, everything(3))).all()


@pytest.mark.parametrize("name", CONTENT)
def test_what_an_item_says_is_enough_to_find_it(name, fit_once):
    codes, _ = fit_once(name).retrieve(asked(), 8)
    assert ANNOUNCED in codes[0]


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
