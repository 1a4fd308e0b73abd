"""What a filter changes about a search."""

import numpy as np
import pytest

from recsys.retrieval.config import FlatIndex, HNSWIndex, IVFIndex, PQIndex
from recsys.retrieval.index import VectorIndex
from recsys.retrieval.structures import few


@pytest.mark.parametrize(
    ("spec", "items", "expected"),
    [
        (FlatIndex(kind="flat"), 10**6, 20_000),
        (IVFIndex(kind="ivf"), 10**6, 20_000),
        (PQIndex(kind="pq"), 10**6, 10**6 / 4),
        (PQIndex(kind="pq"), 10**4, 20_000),
        (HNSWIndex(kind="hnsw", ef_search=50), 10**6, 80_000),
        (HNSWIndex(kind="hnsw", ef_search=50), 10**4, 20_000),
    ],
)
def test_how_many_are_looked_at_one_and_all(spec, items, expected):
    assert few(spec, items) == expected
    if isinstance(spec, HNSWIndex) and expected > 20_000:
        # As many vectors as the steps of a filtered search are worth.
        assert expected == pytest.approx(32 * 4 * spec.ef_search / (expected / items))


@pytest.mark.parametrize("share", [0.95, 0.6, 0.3])
def test_a_graph_loses_nothing_to_a_filter_whatever_the_lengths(share, monkeypatch):
    rng = np.random.default_rng(1)
    vectors, queries = (
        (rng.standard_normal((n, 8)) * rng.lognormal(0, 0.4, (n, 1))).astype(np.float32) for n in (6000, 30)
    )
    index = VectorIndex(vectors, HNSWIndex(kind="hnsw", m=8, ef_construction=40, ef_search=40))
    exact = VectorIndex(vectors)
    allowed = np.sort(rng.choice(6000, int(6000 * share), replace=False)).astype(np.int32)
    monkeypatch.setattr("recsys.retrieval.index.few", lambda spec, items: 0)

    def found(**limits):
        pairs = zip(index.search(queries, 40, **limits)[0], exact.search(queries, 40, **limits)[0], strict=True)
        return np.mean([len(np.intersect1d(a, b)) / 40 for a, b in pairs])

    assert found() < 1
    assert found(allowed=allowed) >= found() - 0.01
