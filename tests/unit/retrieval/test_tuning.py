"""An index that is chosen: what by, and that it keeps what it promises."""

import numpy as np
import pytest

from recsys.retrieval import tuning
from recsys.retrieval.config import AutoIndex
from recsys.retrieval.index import VectorIndex
from recsys.retrieval.tuning import tuned

RNG = np.random.default_rng(0)
CENTRES = RNG.standard_normal((30, 16))
VECTORS = (CENTRES[RNG.integers(0, 30, 4000)] + 0.7 * RNG.standard_normal((4000, 16))).astype(np.float32)
QUERIES = (CENTRES[RNG.integers(0, 30, 40)] + 0.7 * RNG.standard_normal((40, 16))).astype(np.float32)


@pytest.fixture
def chosen(monkeypatch):
    """Chooses as if the catalogue were large; gives the index, what was logged and what was said."""

    def choose(exact=1000, graph=1_000_000, **settings):
        monkeypatch.setattr(tuning, "_EXACT", exact)
        monkeypatch.setattr(tuning, "_GRAPH", graph)
        logged, said = {}, []
        config = AutoIndex(kind="auto", at=50, **settings)
        index = tuned(
            VECTORS,
            QUERIES,
            config,
            log=lambda name, value, step: logged.update({name: value}),
            say=said.append,
            seed=2,
        )
        return index, logged, said

    return choose


def recall(index):
    expected, _ = VectorIndex(VECTORS).search(QUERIES, 50)
    found, _ = index.search(QUERIES, 50)
    return np.mean([len(np.intersect1d(a, b)) / 50 for a, b in zip(found, expected, strict=True)])


@pytest.mark.parametrize(
    ("sizes", "kind"), [((50_000, 10**6), "flat"), ((1000, 10**6), "hnsw"), ((1000, 1500), "ivf_pq")]
)
def test_the_kind_goes_by_the_number_of_items(chosen, sizes, kind):
    index, logged, said = chosen(*sizes, recall=0.8)
    assert index.spec.kind == kind
    assert logged["recall"] == pytest.approx(recall(index))
    assert index.measured == {"recall": logged["recall"], "at": 50, "requests": 40}
    assert logged["latency_ms"] > 0
    assert logged["exact_latency_ms"] > 0
    assert said[0].startswith(f"index {kind}: recall@50 {logged['recall']:.3f} of exact search on 40 requests, ")


def test_the_least_effort_that_reaches_the_recall_is_kept(chosen):
    little, _, _ = chosen(recall=0.5)
    much, _, _ = chosen(recall=0.999)
    assert recall(little) >= 0.5
    assert recall(much) >= 0.999
    assert little.spec.ef_search < much.spec.ef_search
    less = VectorIndex(VECTORS, much.spec, seed=2)
    less.set_effort(much.spec.ef_search // 2)
    assert recall(less) < 0.999


def test_where_nothing_quick_reaches_the_recall_enough_lists_do(chosen, monkeypatch):
    monkeypatch.setattr(tuning, "effort", lambda spec, items: [16] if spec.kind == "hnsw" else [1, 10_000])
    index, logged, _ = chosen(recall=1.0)
    assert index.spec.kind == "ivf"
    assert logged["recall"] == 1.0


def test_a_declared_latency_gives_up_exact_search_and_is_answered_for(chosen):
    index, _, said = chosen(exact=50_000, recall=0.8, latency_ms=1e-6)
    assert index.spec.kind == "hnsw"
    assert said[1].endswith("ms is above latency_ms = 1e-06; lower recall, or the vectors' length")
    index, _, said = chosen(exact=50_000, recall=0.8, latency_ms=1e6)
    assert index.spec.kind == "flat"
    assert len(said) == 1


def test_unknown_items_and_requests_without_a_vector_do_not_count(chosen, monkeypatch):
    sparse = np.zeros((9000, 16), np.float32)
    sparse[5000:] = VECTORS
    plain, expected, _ = chosen(recall=0.95)
    monkeypatch.setitem(globals(), "VECTORS", sparse)
    assert chosen(exact=5000)[0].spec.kind == "flat"
    index, logged, _ = chosen(recall=0.95)
    assert (index.spec, logged["recall"]) == (plain.spec, expected["recall"])
    monkeypatch.setitem(globals(), "QUERIES", np.concatenate([QUERIES, np.zeros((400, 16), np.float32)]))
    index, logged, _ = chosen(recall=0.95)
    assert (index.spec, logged["recall"]) == (plain.spec, pytest.approx(expected["recall"]))
    monkeypatch.setitem(globals(), "QUERIES", np.zeros((7, 16), np.float32))
    assert chosen(recall=0.95)[1]["recall"] == 1.0


def test_the_same_seed_chooses_the_same(chosen, assert_same_lists):
    first, second = chosen(recall=0.95)[0], chosen(recall=0.95)[0]
    assert first.spec == second.spec
    assert_same_lists(second.search(QUERIES, 30), first.search(QUERIES, 30))
