"""Vectors made comparable, and served."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from recsys.features.batch import QueryBatch
from recsys.recall.base import FitContext
from recsys.recall.cosine import by_cosine, centred, of_length_one
from recsys.recall.settings.content import SentenceConfig


def test_vectors_lose_what_all_of_them_say():
    vectors = np.array([[3, 1, 0], [3, -1, 0], [0, 0, 0], [3, 0, 2]], np.float32)
    mean = (vectors[0] + vectors[1] + vectors[3]) / 3
    expected = vectors - mean
    expected[2] = 0
    assert_allclose(centred(vectors), expected, rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_items_that_all_say_the_same_say_nothing(rows):
    vector = of_length_one(np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32))
    assert not centred(np.repeat(vector, rows, axis=0)).any()
    assert not centred(np.zeros((rows, 4), np.float32)).any()


def test_items_are_scored_by_the_cosine_with_the_faded_mean_of_the_history():
    vectors = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32) * np.arange(9)[:, None]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    unit[1:] -= unit[1:].mean(axis=0)
    unit[1:] /= np.linalg.norm(unit[1:], axis=1, keepdims=True)
    config = SentenceConfig(kind="sentence", model="x", query_decay=0.5, history=2)
    retriever = by_cosine(vectors, config, None, FitContext(0, None, None, None, None))
    batch = QueryBatch(np.array([[4, 2, 7]], np.int32), np.array([3], np.int32), {})
    query = 0.5 * unit[2] + unit[7]
    scores = retriever.score(batch, np.arange(9, dtype=np.int32)[None])[0]
    assert np.isneginf(scores[0])
    assert_allclose(scores[1:], unit[1:] @ query / np.linalg.norm(query), atol=1e-6)
