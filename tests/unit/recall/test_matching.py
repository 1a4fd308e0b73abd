"""The product of terms, block by block."""

import numpy as np
import pytest
from scipy import sparse

from recsys.features.batch import QueryBatch
from recsys.recall import matching
from recsys.recall.settings.content import TFIDFConfig


@pytest.mark.parametrize("pairs", [1, 7, 60, 1 << 20])
def test_blocks_of_any_size_give_the_whole_product(monkeypatch, pairs):
    monkeypatch.setattr(matching, "_PAIRS", pairs)
    asking, found = (sparse.random_array((30, 12), density=0.2, rng=seed, format="csr") for seed in (0, 1))
    retriever = matching.matched(asking, found, TFIDFConfig(kind="tfidf"))
    expected = (asking @ found.T).toarray()
    np.fill_diagonal(expected, 0.0)
    batch = QueryBatch(np.arange(30, dtype=np.int32)[:, None], np.ones(30, np.int32), {})
    scores = retriever.score(batch, np.broadcast_to(np.arange(30, dtype=np.int32), (30, 30)))
    np.testing.assert_allclose(np.where(np.isfinite(scores), scores, 0), expected, rtol=1e-6)


def test_blocks_hold_as_many_pairs_as_they_may_or_one_row():
    asking = sparse.csr_array(np.array([[1, 1], [1, 0], [0, 0], [0, 1], [1, 0]]))
    # Of terms in 3 and 4 items the rows match 5 (of 7, there are no more items), 3, 0, 4 and 3.
    limits = {8: [(0, 3), (3, 5)], 4: [(0, 1), (1, 3), (3, 4), (4, 5)], 100: [(0, 5)]}
    for limit, expected in limits.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matching, "_PAIRS", limit)
            assert list(matching._blocks(asking, np.array([3, 4]))) == expected


def test_terms_of_too_many_items_are_left_out():
    counts = sparse.csr_array(np.array([[2, 0, 1], [1, 1, 0], [1, 0, 3]]))
    assert matching.common_terms(counts, 2).toarray().tolist() == [[0, 1], [1, 0], [0, 3]]
