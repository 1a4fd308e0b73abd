"""Items as the weighted mean of their words."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from recsys.errors import DataError
from recsys.recall.settings.content import SubwordSettings, TextVectorsConfig
from recsys.recall.text_vectors import mean_vectors
from recsys.recall.word2vec.config import Word2VecSettings

TRAINING = Word2VecSettings(embedding_dim=16, window=5, epochs=40, device="cpu")


def test_frequent_words_weigh_less():
    counts = sparse.csr_array(np.array([[2, 1, 0], [0, 0, 0], [1, 0, 4]]))
    vectors = np.array([[3, 4], [0, 2], [1, 0]], np.float32)
    unit = np.array([[0.6, 0.8], [0, 1], [1, 0]])
    share = np.array([3, 1, 4]) / 8
    weights = 0.5 / (0.5 + share)
    expected = [
        2 * weights[0] * unit[0] + weights[1] * unit[1],
        [0, 0],
        weights[0] * unit[0] + 4 * weights[2] * unit[2],
    ]
    assert_allclose(mean_vectors(counts, vectors, 0.5), expected, rtol=1e-6)


def test_words_in_the_same_company_bring_items_together(catalogue, asked):
    """Of two items that share no word with the first, that one is nearer whose word stands in the same texts."""
    texts = ["kitten meow", "cat meow purr", "kitten purr meow", "cat meow", "dog bark", "puppy bark woof", "dog woof"]
    data = catalogue(title=[*texts * 20, "kitten", "cat", "puppy"])
    config = TextVectorsConfig(kind="text_vectors", training=TRAINING)
    scores = asked(config, data, [140])
    assert scores[141] > scores[142] + 0.5


def test_words_spelt_alike_are_near_only_with_ngrams(catalogue, asked):
    """The last two words stand in one text each, beside nothing that says what they are."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(group, 4)) for group in (["cook", "oven", "dish"], ["rocket", "orbit", "moon"]) * 60]
    data = catalogue(title=[*texts, "rocketeers", "cookery"])
    history = [1, 3, 5]
    whole, ngrams = (
        asked(TextVectorsConfig(kind="text_vectors", training=TRAINING, subwords=subwords), data, history)
        for subwords in (None, SubwordSettings())
    )
    assert ngrams[120] > ngrams[121] + 0.3
    assert ngrams[120] - ngrams[121] > whole[120] - whole[121]


def test_a_minimum_no_word_reaches_is_refused(catalogue, asked):
    training = TRAINING.model_copy(update={"min_count": 3})
    with pytest.raises(DataError, match="corpus: no token occurs 3 times, the most frequent 2 times; lower min_count"):
        asked(TextVectorsConfig(kind="text_vectors", training=training), catalogue(title=["a b", "a"]), [0])


def test_ngrams_have_an_order():
    with pytest.raises(ValueError, match="longest: found 2, expected at least 3, the length of the shortest"):
        SubwordSettings(longest=2)
