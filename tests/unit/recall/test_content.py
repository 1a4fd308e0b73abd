"""What all routes promise that go by what items say of themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import DataError
from recsys.features.batch import QueryBatch
from recsys.recall.base import FitContext
from recsys.recall.registry import fit_route
from recsys.recall.settings.base import LogFacts
from recsys.recall.settings.content import (
    BM25Config,
    SentenceConfig,
    SubwordSettings,
    TextVectorsConfig,
    TFIDFConfig,
    WordVectorSettings,
)

pytestmark = pytest.mark.usefixtures("word_model")

TRAINING = WordVectorSettings(embedding_dim=32, device="cpu")
CONFIGS = {
    "bm25": BM25Config(kind="bm25"),
    "tfidf": TFIDFConfig(kind="tfidf"),
    "word2vec": TextVectorsConfig(kind="text_vectors", training=TRAINING),
    "fasttext": TextVectorsConfig(kind="text_vectors", training=TRAINING, subwords=SubwordSettings()),
    "sentence": SentenceConfig(kind="sentence", model="model"),
}
GENRES = {"western": "sheriff saloon cattle desert", "space": "rocket orbit alien galaxy", "heist": "vault safe guard"}


@pytest.fixture(params=sorted(CONFIGS))
def config(request):
    return CONFIGS[request.param]


def planted(catalogue):
    """Twelve films a genre, named by its words; the last of each genre is cold. One more says nothing."""
    rng = np.random.default_rng(1)
    titles = [
        f"{' '.join(rng.choice(words.split(), 2, replace=False))}" for words in GENRES.values() for _ in range(12)
    ]
    events = [item for item in range(36) if item % 12 != 11]
    tags = [[genre] for genre in GENRES for _ in range(12)]
    return catalogue(events=events, title=[*titles, None], tags=[*tags, None])


def test_a_cold_item_is_found_by_a_history_of_its_genre(catalogue, asked, config):
    for genre in range(3):
        history = [12 * genre, 12 * genre + 5]
        scores = asked(config, planted(catalogue), history)
        best = np.argsort(-scores, kind="stable")[:12]
        assert 12 * genre + 11 in best
        assert np.mean(best // 12 == genre) > 0.9


def test_an_item_that_says_nothing_is_found_by_nobody_and_finds_nothing(catalogue, asked, config):
    data = planted(catalogue)
    scores = asked(config, data, [0])
    assert scores[36] <= 0
    assert not (asked(config, data, [36]) > 0).any()
    np.testing.assert_allclose(asked(config, data, [36, 0]), asked(config, data, [0]), rtol=1e-5, atol=1e-5)


def test_without_history_nothing_is_found(catalogue, asked, config):
    assert np.isneginf(asked(config, planted(catalogue), [])).all()


def test_a_catalogue_of_one_item_is_answered_and_lists_are_padded(catalogue, config):
    retriever = fit_route(config, catalogue(title=["rocket"]), FitContext(0, None, lambda *_: None, print, None))
    codes, scores = retriever.retrieve(QueryBatch(np.zeros((1, 1), np.int32), np.ones(1, np.int32), {}), 5)
    assert codes.shape == scores.shape == (1, 5)
    assert (codes[0, 1:] == -1).all()
    assert np.isneginf(scores[codes < 0]).all()


def test_items_that_say_the_same_come_in_the_order_of_their_codes(catalogue, config):
    data = catalogue(title=["red rocket", "blue vault", "red rocket", "red rocket", "green vault"])
    retriever = fit_route(config, data, FitContext(0, None, lambda *_: None, print, None))
    codes, scores = retriever.retrieve(QueryBatch(np.zeros((1, 1), np.int32), np.ones(1, np.int32), {}), 3)
    own = codes[0] == 0
    assert codes[0][~own][:2].tolist() == [2, 3]
    assert scores[0][codes[0] == 2] == scores[0][codes[0] == 3]


def test_a_text_that_is_empty_everywhere_is_refused_by_name(catalogue, asked, config):
    config = config.model_copy(update={"columns": ("title", "story")})
    with pytest.raises(
        DataError, match=rf"{config.kind}: column 'story' has no word or value of any of 2 items; leave"
    ):
        asked(config, catalogue(title=["a b", "b c"], story=[None, " "]), [0])
    with pytest.raises(DataError, match=rf"{config.kind}: none of 2 items has a word or value in a text or category"):
        asked(config.model_copy(update={"columns": None}), catalogue(title=["?", None]), [0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text("ab ", max_size=6)), min_size=1, max_size=6))
def test_terms_match_whatever_they_are(catalogue, asked, texts):
    for config in (CONFIGS["bm25"], CONFIGS["tfidf"]):
        said = [set((text or "").split()) for text in texts]
        if not any(said):
            continue
        found = asked(config, catalogue(title=texts), [0])
        shared = [item != 0 and bool(said[0] & words) for item, words in enumerate(said)]
        assert np.isfinite(found).tolist() == shared


KINDS = {"item_id": "categorical", "title": "text", "price": "numeric", "genres": "multi_categorical"}


def problems(config, kinds=KINDS, ordered=True):
    facts = LogFacts(ordered, "", {"user": [], "item": [], "context": []}, {"user": {}, "item": kinds, "context": {}})
    return [str(problem) for problem in config.problems(facts)]


def test_columns_that_hold_no_words_are_refused_with_their_place(config):
    assert problems(config) == []
    wrong = config.model_copy(update={"columns": ("titel", "title", "price", "item_id")})
    assert problems(wrong) == [
        "columns.0: found 'titel', expected a column of data.items.columns; did you mean title?",
        "columns.2: found 'price', which is numeric; expected a column of kind text, categorical or multi_categorical",
        "columns.3: found 'item_id', expected a column of data.items.columns; known are genres, title",
    ]


def test_a_catalogue_without_words_is_refused(config):
    assert problems(config, {"item_id": "categorical", "price": "numeric"}) == [
        f"kind: found {config.kind}, but data.items has no column of kind text, categorical or multi_categorical; "
        "name one under data.items.columns, or leave the route out"
    ]


def test_a_decay_is_refused_where_there_is_no_order(config):
    assert problems(config, ordered=False) == []
    assert problems(config.model_copy(update={"query_decay": 0.9}), ordered=False) == [
        "query_decay: found 0.9, expected 1: data.order is none, so no event is nearer than another"
    ]


def test_ngrams_are_not_trained_on_a_gpu():
    training = TRAINING.model_copy(update={"device": "cuda"})
    wrong = CONFIGS["fasttext"].model_copy(update={"training": training})
    assert problems(wrong) == [
        "training.device: found cuda, expected auto or cpu: n-grams are trained on CPUs; or set subwords: null"
    ]
    assert problems(wrong.model_copy(update={"subwords": None})) == []


def test_only_a_model_is_a_file_of_the_user():
    assert [[str(path) for path in config.files()] for config in CONFIGS.values()] == [[], [], [], [], ["model"]]
