"""Items as the weighted mean of their words."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from recsys.errors import DataError
from recsys.recall.settings.content import SubwordSettings, TextVectorsConfig, WordVectorSettings
from recsys.recall.text_vectors import mean_vectors

TRAINING = WordVectorSettings(embedding_dim=16, window=5, epochs=40, loss="negative_sampling", device="cpu")


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


def test_one_setting_of_the_training_leaves_the_others_to_texts():
    """Not to those of item sequences, which the same trainer has."""
    training = TextVectorsConfig.model_validate({"kind": "text_vectors", "training": {"embedding_dim": 32}}).training
    assert (training.window, training.epochs, training.loss) == (10, 20, "hierarchical_softmax")


@pytest.mark.parametrize("subwords", [None, SubwordSettings()])
def test_the_same_seed_gives_the_same_scores_and_another_other_ones(catalogue, asked, subwords):
    config = TextVectorsConfig(kind="text_vectors", training=TRAINING, subwords=subwords)
    data = catalogue(title=["cat meow", "cat purr", "dog bark", "dog woof"])
    first = asked(config, data, [0])
    np.testing.assert_allclose(asked(config, data, [0]), first, rtol=1e-5, atol=1e-5)
    assert np.abs(asked(config, data, [0], seed=4) - first).max() > 1e-3


def test_an_item_of_words_too_rare_to_be_trained_says_nothing_unless_its_ngrams_are_known(catalogue, asked):
    texts = ["rocket orbit", "rocketry orbit", "sheriff saloon", "sheriffs saloon"] * 5
    data = catalogue(title=[*texts, "rocketeer", "quux"])
    training = TRAINING.model_copy(update={"min_count": 2})
    whole, ngrams = (
        asked(TextVectorsConfig(kind="text_vectors", training=training, subwords=subwords), data, [0])
        for subwords in (None, SubwordSettings())
    )
    assert np.isneginf(whole[20:]).all()
    assert ngrams[20] > 0.5
    assert np.isneginf(ngrams[21])
