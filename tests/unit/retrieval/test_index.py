import tracemalloc

import numpy as np
import pytest

from recsys.errors import ArtifactError
from recsys.retrieval.index import VectorIndex

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("metric", ["inner_product", "cosine", "l2"])
@pytest.mark.parametrize("batch", [1, 19, 20, 64, 300])
def test_repeated_vectors_tie_whatever_the_batch(batch, metric):
    # Past some batch size FAISS multiplies matrices instead, and sums come out in another order for the same pair.
    vectors = RNG.standard_normal((90, 33)).astype(np.float32)[RNG.integers(0, 90, 500)]
    queries = RNG.standard_normal((batch, 33)).astype(np.float32)
    index = VectorIndex(vectors, metric=metric)
    codes, scores = index.search(queries, 40)
    for row in range(batch):
        alone, _ = index.search(queries[row : row + 1], 40)
        assert alone[0].tolist() == codes[row].tolist()
    wide, asked = vectors.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        wide, asked = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (wide, asked))
    exact = -((asked[:, None] - wide) ** 2).sum(2) if metric == "l2" else asked @ wide.T
    best = -np.sort(-exact, axis=1)[:, :40]
    np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-4)
    assert (np.diff(codes, axis=1)[np.diff(scores, axis=1) == 0] > 0).all()
    same = (vectors[codes[:, 1:]] == vectors[codes[:, :-1]]).all(axis=2)
    assert same.any()
    assert (np.diff(codes, axis=1)[same] > 0).all()


@pytest.mark.parametrize("allowed", [None, np.arange(40, dtype=np.int32)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_query_that_is_not_finite_finds_nothing_and_disturbs_nobody(bad, allowed):
    index = VectorIndex(RNG.standard_normal((50, 4)).astype(np.float32))
    queries = RNG.standard_normal((3, 4)).astype(np.float32)
    expected, _ = index.search(queries, 5, allowed=allowed)
    broken = queries.copy()
    broken[1, 2] = bad
    codes, scores = index.search(broken, 5, allowed=allowed)
    assert codes.tolist() == [expected[0].tolist(), [-1] * 5, expected[2].tolist()]
    assert np.isneginf(scores[1]).all()
    assert np.isneginf(index.score(broken, expected)[1]).all()
    assert np.isfinite(index.score(broken, expected)[[0, 2]]).all()


def test_a_few_allowed_items_do_not_cost_the_whole_catalogue():
    index = VectorIndex(np.ones((200_000, 2), np.float32))
    queries = np.ones((50, 2), np.float32)
    tracemalloc.start()
    codes, _ = index.search(queries, 2, allowed=np.array([7, 90, 199_999], np.int32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes.tolist() == [[7, 90]] * 50
    # One row of scores over the catalogue is 0.8 MB.
    assert peak < 200_000


def test_no_items_give_padding():
    codes, scores = VectorIndex(np.zeros((0, 3), np.float32)).search(np.ones((2, 3), np.float32), 2)
    assert codes.tolist() == [[-1, -1], [-1, -1]]
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("vectors", [np.zeros(4, np.float32), np.zeros((4, 2)), np.full((4, 2), np.inf, np.float32)])
def test_other_arrays_are_refused(vectors, tmp_path):
    np.save(tmp_path / "vectors.npy", vectors)
    with pytest.raises(ArtifactError, match=r"expected finite \(N, D\) float32; fit the route again"):
        VectorIndex.load(tmp_path)
