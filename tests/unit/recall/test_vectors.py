"""Vectors served by the index that the settings name."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from recsys.features.batch import QueryBatch
from recsys.features.history import Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.factors import ALSConfig
from recsys.recall.vectors import served
from recsys.retrieval.config import IndexConfig
from recsys.retrieval.encoders import PooledEncoder
from recsys.retrieval.registry import load_retriever, save_retriever

ITEMS = 1500
RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((ITEMS, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def training():
    offsets = np.concatenate([[0], np.cumsum([0, 5, 1, 30] * 10)])
    items = RNG.integers(0, ITEMS, offsets[-1]).astype(np.int32)
    histories = Histories(offsets, items, np.arange(len(items)))
    return TrainingData(histories, np.zeros(len(items), np.int64), {}, {}, (), (), ITEMS, True, 0)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "pq", "ivf_pq", "sq", "auto"])
def test_a_route_is_served_by_the_index_it_names(kind, training, tmp_path, monkeypatch):
    monkeypatch.setattr("recsys.retrieval.tuning._EXACT", 1000)
    logged, said = {}, []
    context = FitContext(4, None, lambda name, value, step: logged.update({name: value}), said.append, None)
    config = TypeAdapter(IndexConfig).validate_python(kind)
    retriever = served(VECTORS, PooledEncoder(VECTORS, decay=0.9, history=20), config, training, context)
    assert retriever._index.spec.kind == ("hnsw" if kind == "auto" else kind)
    batch = QueryBatch(np.array([[3, 8, 1]], np.int32), np.array([3], np.int32), {})
    codes, scores = retriever.retrieve(batch, 10)
    np.testing.assert_allclose(retriever.score(batch, codes), scores, rtol=1e-4)
    save_retriever(retriever, tmp_path)
    again, _ = load_retriever(tmp_path, {}).retrieve(batch, 10)
    assert (again == codes).all()
    assert (set(logged) == {"index/recall", "index/latency_ms", "index/exact_latency_ms"}) == (kind == "auto")
    assert len(said) == (kind == "auto")


def test_an_index_is_named_in_a_word_or_with_its_numbers():
    plain = ALSConfig(kind="als", index="hnsw")
    assert plain == ALSConfig(kind="als", index={"kind": "hnsw"})
    assert ALSConfig(kind="als", index={"kind": "ivf", "nprobe": 3}).index.nprobe == 3
    assert ALSConfig(kind="als").index.kind == "flat"
