"""BM25 against its formula, written as loops over dictionaries."""

from collections import Counter
from math import log

import numpy as np
import pytest
from numpy.testing import assert_allclose

from recsys.recall.settings.content import BM25Config

RNG = np.random.default_rng(2)
TEXTS = [" ".join(RNG.choice(list("abcdefghij"), n)) or None for n in RNG.integers(0, 9, 25)]


def by_hand(texts, k1, b, most):
    """`(N, N)` scores of every item for the text of every item."""
    items = [Counter((text or "").split()) for text in texts]
    frequency = Counter(word for item in items for word in item)
    items = [Counter({word: n for word, n in item.items() if frequency[word] <= most}) for item in items]
    spoken = [item for item in items if item]
    mean = sum(item.total() for item in spoken) / len(spoken)
    found = np.zeros((len(texts), len(texts)))
    for i, asking in enumerate(items):
        for j, item in enumerate(items):
            for word in asking.keys() & item.keys():
                idf = log(1 + (len(spoken) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                n = item[word]
                found[i, j] += idf * n * (k1 + 1) / (n + k1 * (1 - b + b * item.total() / mean))
    np.fill_diagonal(found, 0.0)
    return found


@pytest.mark.parametrize(("k1", "b", "most"), [(1.2, 0.75, 100), (2.0, 0.0, 100), (0.0, 0.5, 100), (0.9, 1.0, 14)])
def test_every_pair_scores_as_the_formula_says(catalogue, asked, k1, b, most):
    config = BM25Config(kind="bm25", k1=k1, b=b, max_items=most)
    expected = by_hand(TEXTS, k1, b, most)
    data = catalogue(title=TEXTS)
    found = np.array([asked(config, data, [item]) for item in range(len(TEXTS))])
    assert_allclose(np.where(np.isfinite(found), found, 0.0), expected, rtol=1e-5)


def test_a_history_adds_up_and_fades(catalogue, asked):
    config = BM25Config(kind="bm25", query_decay=0.5, history=2)
    data = catalogue(title=["a b c", "a b d", "b e", "c f", "e"])
    one, two, both = (asked(config, data, history) for history in ([0], [2], [4, 0, 2]))
    expected = 0.5 * np.maximum(one, 0) + np.maximum(two, 0)
    assert_allclose(np.maximum(both, 0), expected, rtol=1e-6)


def test_only_the_best_neighbours_are_kept(catalogue, asked):
    data = catalogue(title=["a b c", "a", "a b", "a b c", "d"])
    found = asked(BM25Config(kind="bm25", neighbours=2, b=0), data, [0])
    assert np.flatnonzero(np.isfinite(found)).tolist() == [2, 3]
