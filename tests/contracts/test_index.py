"""What every kind of index promises, against brute force."""

import gc
import json
import shutil
import threading
from types import SimpleNamespace

import faiss
import numpy as np
import pytest
from pydantic import TypeAdapter

from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.retrieval.config import IndexConfig
from recsys.retrieval.index import VectorIndex

ITEMS, DIM = 6_000, 22
METRICS = ("inner_product", "cosine", "l2")
SPECS = {
    "flat": {"kind": "flat"},
    "ivf": {"kind": "ivf", "nlist": 50, "nprobe": 15},
    "hnsw": {"kind": "hnsw", "m": 16, "ef_construction": 60, "ef_search": 96},
    "pq": {"kind": "pq", "m": 6, "refine": 10},
    "ivf_pq": {"kind": "ivf_pq", "nlist": 40, "nprobe": 15, "m": 6, "refine": 10},
    "sq": {"kind": "sq"},
    "sq_4bit": {"kind": "sq", "type": "4bit", "refine": 8},
    "sq_fp16": {"kind": "sq", "type": "fp16"},
}


def spec(name):
    return TypeAdapter(IndexConfig).validate_python(SPECS[name])


def clustered(count, seed):
    """Vectors around forty centres, as those of items are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIM))
    return (centres[rng.integers(0, 40, count)] + 0.5 * rng.standard_normal((count, DIM))).astype(np.float32)


VECTORS, QUERIES = clustered(ITEMS, 0), clustered(20, 1)


def truth(queries, vectors, metric):
    """All scores, in double precision."""
    queries, vectors = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return -((queries[:, None] - vectors[None]) ** 2).sum(2)
    if metric == "cosine":
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    return queries @ vectors.T


def share_found(codes, scores, allowed=None):
    """The share of the best that was found, of all that is scored or of the allowed."""
    scores = scores.copy()
    if allowed is not None:
        scores[:, np.setdiff1d(np.arange(scores.shape[1]), allowed)] = -np.inf
    k = codes.shape[1]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(codes, best, strict=True)])


GPU = (pytest.mark.gpu, pytest.mark.skipif(not getattr(faiss, "get_num_gpus", int)(), reason="FAISS finds no GPU"))
ON_GPU = ("flat", "ivf", "ivf_pq")


@pytest.fixture(
    scope="module",
    params=[pytest.param((name, metric, "cpu"), id=f"{name}-{metric}") for name in SPECS for metric in METRICS]
    + [
        pytest.param((name, metric, "gpu"), id=f"{name}-{metric}-gpu", marks=GPU)
        for name in ON_GPU
        for metric in METRICS
    ],
)
def built(request):
    name, metric, device = request.param
    index = VectorIndex(VECTORS, spec(name), metric=metric, seed=3)
    if device == "gpu":
        index.to_gpu()
    return name, metric, index


@pytest.fixture
def assert_same(assert_same_lists):
    """The same answers from vectors at other addresses; a GPU rounds more coarsely."""

    def check(index, found, expected):
        if index._gpu is None:
            assert_same_lists(found, expected)
        else:
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-4)

    return check


def test_the_best_are_found_with_their_own_scores(built):
    name, metric, index = built
    codes, scores = index.search(QUERIES, 20)
    exact = truth(QUERIES, VECTORS, metric)
    assert share_found(codes, exact) >= (1.0 if name == "flat" else 0.9)
    np.testing.assert_allclose(scores, np.take_along_axis(exact, codes, axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(index.score(QUERIES, codes), scores, rtol=1e-4, atol=1e-4)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(set(row)) == 20 for row in codes.tolist())


@pytest.mark.parametrize("share", [0.5, 0.05, 0.001])
def test_filters_cost_no_recall(built, share, monkeypatch):
    monkeypatch.setattr("recsys.retrieval.index.few", lambda spec, items: 0)
    name, metric, index = built
    allowed = np.sort(np.random.default_rng(5).choice(ITEMS, int(share * ITEMS), replace=False)).astype(np.int32)
    codes, scores = index.search(QUERIES, 6, allowed=allowed)
    assert np.isin(codes, allowed).all()
    assert share_found(codes, truth(QUERIES, VECTORS, metric), allowed) >= (1.0 if name == "flat" else 0.9)
    assert np.isfinite(scores).all()


def test_few_allowed_items_are_looked_at_one_and_all(built):
    _, metric, index = built
    allowed = np.arange(0, ITEMS, 7, dtype=np.int32)
    codes, _ = index.search(QUERIES, 30, allowed=allowed)
    assert share_found(codes, truth(QUERIES, VECTORS, metric), allowed) == 1.0


def test_a_list_is_never_shorter_than_the_catalogue(built):
    _, metric, index = built
    codes, scores = index.search(QUERIES[:2], ITEMS + 5)
    assert (codes[:, ITEMS:] == -1).all()
    assert np.isneginf(scores[:, ITEMS:]).all()
    assert sorted(codes[0, :ITEMS].tolist()) == list(range(ITEMS))
    exact = truth(QUERIES[:2], VECTORS, metric)
    np.testing.assert_allclose(scores[:, :ITEMS], -np.sort(-exact, axis=1), rtol=1e-3, atol=1e-3)
    nearly, _ = index.search(QUERIES[:2], ITEMS - 1)
    assert (nearly >= 0).all()


def test_one_request_is_answered_as_among_many(built, assert_same):
    _, _, index = built
    codes, scores = index.search(QUERIES, 10)
    for row in (0, 7):
        assert_same(index, index.search(QUERIES[row : row + 1], 10), (codes[[row]], scores[[row]]))


def test_the_same_seed_builds_the_same_index(built, assert_same):
    name, metric, index = built
    again = VectorIndex(VECTORS, spec(name), metric=metric, seed=3)
    assert_same(index, index.search(QUERIES, 50), again.search(QUERIES, 50))


def test_saves_and_loads(built, assert_same, tmp_path):
    _, metric, index = built
    index.save(tmp_path)
    loaded = VectorIndex.load(tmp_path)
    assert (loaded.spec, loaded.metric) == (index.spec, metric)
    assert_same(index, index.search(QUERIES, 30), loaded.search(QUERIES, 30))


@pytest.mark.parametrize("name", SPECS)
def test_items_come_and_go_without_building_again(name, assert_same_lists, tmp_path):
    index = VectorIndex(VECTORS[:5000], spec(name))
    index.add(VECTORS[5000:])
    codes, _ = index.search(QUERIES, 20)
    exact = truth(QUERIES, VECTORS, "inner_product")
    assert share_found(codes, exact) >= (1.0 if name == "flat" else 0.9)
    gone = np.unique(codes[:, :5])
    index.remove(gone.astype(np.int32))
    left = np.setdiff1d(np.arange(ITEMS), gone)
    codes, scores = index.search(QUERIES, 20)
    assert not np.isin(codes, gone).any()
    assert share_found(codes, exact, left) >= (1.0 if name == "flat" else 0.9)
    assert np.isneginf(index.score(QUERIES[:1], gone[None].astype(np.int32))).all()
    index.save(tmp_path)
    assert_same_lists(VectorIndex.load(tmp_path).search(QUERIES, 20), (codes, scores))
    codes, _ = index.search(QUERIES, 5, allowed=np.append(gone, left[:3]).astype(np.int32))
    assert sorted(codes[0, :3].tolist()) == left[:3].tolist()
    assert (codes[:, 3:] == -1).all()


@pytest.mark.parametrize("name", SPECS)
def test_equal_vectors(name):
    vectors = VECTORS[:3000].copy()
    vectors[1000:2000] = vectors[5]
    index = VectorIndex(vectors, spec(name), metric="cosine")
    codes, scores = index.search(vectors[5:6], 3)
    np.testing.assert_allclose(scores, 1, rtol=1e-5)
    assert set(codes[0].tolist()) <= {5, *range(1000, 2000)}


UNKNOWN = np.random.default_rng(7).choice(ITEMS, ITEMS // 3, replace=False).astype(np.int32)
"""Items without a vector."""
SHIFTED = VECTORS + 1
AGAINST = np.concatenate([-SHIFTED[:4], SHIFTED[:4]]) + 0.1 * QUERIES[:8]
"""Of the first four queries the products with nearly all shifted vectors are below 0, those with zeros above them."""


def with_unknown_items():
    vectors = SHIFTED.copy()
    vectors[UNKNOWN] = 0
    return vectors


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", SPECS)
def test_items_without_a_vector_are_never_found(name, metric, tmp_path):
    vectors = with_unknown_items()
    index = VectorIndex(vectors[:5000], spec(name), metric=metric, seed=3)
    index.add(vectors[5000:])
    known = np.setdiff1d(np.arange(ITEMS), UNKNOWN)
    assert_only_these_are_found(name, index, known, metric)
    gone = known[::3].astype(np.int32)
    index.remove(np.concatenate([gone, UNKNOWN[:5]]))
    known = np.setdiff1d(known, gone)
    assert_only_these_are_found(name, index, known, metric)
    index.save(tmp_path)
    loaded = VectorIndex.load(tmp_path)
    assert_only_these_are_found(name, loaded, known, metric)
    # Codes go on from the last item, with or without a vector.
    loaded.add(np.stack([np.zeros(DIM, np.float32), QUERIES[0]]))
    everything = np.arange(ITEMS + 2, dtype=np.int32)[None]
    finite = np.isfinite(loaded.score(QUERIES[:1], everything))[0]
    np.testing.assert_array_equal(np.flatnonzero(finite), [*known, ITEMS + 1])


def assert_only_these_are_found(name, index, known, metric):
    """Short lists have the best of the known items, long ones all of them and no others, filtered or not."""
    exact = truth(AGAINST, SHIFTED, metric)
    least = 1.0 if name == "flat" else 0.9
    codes, scores = index.search(AGAINST, 20)
    assert np.isin(codes, known).all()
    assert share_found(codes, exact, known) >= least
    np.testing.assert_allclose(scores, np.take_along_axis(exact, codes, axis=1), rtol=1e-4, atol=1e-4)
    everything = np.broadcast_to(np.arange(ITEMS, dtype=np.int32), exact.shape)
    own = index.score(AGAINST, everything)
    np.testing.assert_array_equal(np.isfinite(own), np.isin(everything, known))
    np.testing.assert_allclose(own[:, known], exact[:, known], rtol=1e-4, atol=1e-4)
    codes, _ = index.search(AGAINST[:2], ITEMS)
    for row in codes:
        assert sorted(row[: len(known)].tolist()) == known.tolist()
        assert (row[len(known) :] == -1).all()
    allowed = np.union1d(UNKNOWN, known[:7]).astype(np.int32)
    codes, scores = index.search(AGAINST, 9, allowed=allowed)
    assert (np.sort(codes[:, :7], axis=1) == known[:7]).all()
    assert (codes[:, 7:] == -1).all()
    assert np.isneginf(scores[:, 7:]).all()


@pytest.mark.parametrize("share", [0.9, 0.3])
@pytest.mark.parametrize("name", SPECS)
def test_filters_know_rows_from_codes(name, share, monkeypatch):
    """Long allow-lists, which the structure itself looks up."""
    monkeypatch.setattr("recsys.retrieval.index.few", lambda spec, items: 0)
    index = VectorIndex(with_unknown_items(), spec(name), seed=3)
    allowed = np.sort(np.random.default_rng(5).choice(ITEMS, int(share * ITEMS), replace=False)).astype(np.int32)
    codes, _ = index.search(AGAINST, 6, allowed=allowed)
    both = np.setdiff1d(allowed, UNKNOWN)
    assert np.isin(codes, both).all()
    assert share_found(codes, truth(AGAINST, SHIFTED, "inner_product"), both) >= (1.0 if name == "flat" else 0.9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", SPECS)
def test_a_query_of_zeros_finds_nothing_and_disturbs_nobody(name, metric):
    index = VectorIndex(VECTORS[:3000], spec(name), metric=metric, seed=3)
    queries = QUERIES[:3].copy()
    queries[1] = 0
    codes, scores = index.search(queries, 4)
    assert (codes[1] == -1).all()
    assert np.isneginf(scores[1]).all()
    assert np.isneginf(index.score(queries, codes[[0, 0, 0]])[1]).all()
    expected, _ = index.search(QUERIES[[0, 2]], 4)
    np.testing.assert_array_equal(codes[[0, 2]], expected)
    assert (index.search(queries[1:2], 4, allowed=np.arange(9, dtype=np.int32))[0] == -1).all()


@pytest.mark.parametrize("name", SPECS)
def test_a_small_catalogue_is_searched_exactly_whatever_the_kind(name):
    index = VectorIndex(VECTORS[:7], spec(name))
    assert index.spec.kind == "flat"
    codes, _ = index.search(QUERIES, 9)
    assert (codes[:, 7:] == -1).all()
    assert share_found(codes[:, :7], truth(QUERIES, VECTORS[:7], "inner_product")) == 1.0


def saved(folder, name="ivf"):
    VectorIndex(VECTORS, spec(name)).save(folder)
    return folder


@pytest.mark.parametrize("name", sorted(set(SPECS) - {"flat"}))
@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer", "missing"])
def test_damage_is_noticed_before_faiss_reads_it(name, damage, tmp_path, monkeypatch):
    path = saved(tmp_path, name) / "index.faiss"
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 3] ^= 1
        path.write_bytes(data)
    elif damage == "longer":
        path.write_bytes(data + b"x")
    else:
        path.unlink()
    monkeypatch.setattr(faiss, "deserialize_index", None)
    with pytest.raises(ArtifactError, match=r"index\.json: cannot be read \(.*index\.faiss.*\); fit the route again"):
        VectorIndex.load(tmp_path)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (VECTORS[:, :20], "d 20, expected 22"),
        (VECTORS[:5000], r"ntotal 5000, expected 6000"),
    ],
)
def test_the_index_of_other_vectors_is_refused(other, message, tmp_path):
    folder = saved(tmp_path / "mine") if (tmp_path / "mine").mkdir() is None else None
    (tmp_path / "other").mkdir()
    VectorIndex(other, spec("ivf")).save(tmp_path / "other")
    for file in ("index.faiss", "index.json"):
        shutil.copy(tmp_path / "other" / file, folder / file)
    with pytest.raises(ArtifactError, match=message):
        VectorIndex.load(folder)


def edited(folder, **changes):
    described = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(described | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": {"kind": "hnsw"}}, "a IndexIVFFlat, expected IndexHNSWFlat"),
        ({"metric": "l2"}, "metric_type 0, expected 1"),
        ({"metric": "manhattan"}, "metric 'manhattan', expected one of inner_product, cosine, l2"),
        ({"spec": {"kind": "tree"}}, "tree"),
        ({"removed": [ITEMS]}, "found the code 6000, expected 0 to 5,999"),
        ({"items": ITEMS - 1}, "codes.npy: expected 6,000 ascending int32 codes below 5,999"),
    ],
)
def test_a_description_of_something_else_is_refused(changes, message, tmp_path):
    edited(saved(tmp_path), **changes)
    with pytest.raises(ArtifactError, match=message):
        VectorIndex.load(tmp_path)


@pytest.mark.parametrize(
    "codes",
    [
        np.arange(ITEMS - 1, dtype=np.int32),
        np.arange(ITEMS),
        np.full(ITEMS, 3, np.int32),
        np.arange(-1, ITEMS - 1, dtype=np.int32),
    ],
)
def test_codes_of_other_rows_are_refused(codes, tmp_path):
    np.save(saved(tmp_path) / "codes.npy", codes)
    with pytest.raises(ArtifactError, match=r"codes\.npy: expected 6,000 ascending int32 codes below 6,000"):
        VectorIndex.load(tmp_path)


def test_an_index_of_bundles_of_version_1_answers_as_it_did(tmp_path):
    vectors = with_unknown_items()
    VectorIndex(vectors).save(tmp_path)
    np.save(tmp_path / "vectors.npy", vectors)
    (tmp_path / "codes.npy").unlink()
    described = json.loads((tmp_path / "index.json").read_text())
    del described["items"]
    (tmp_path / "index.json").write_text(json.dumps(described))
    codes, _ = VectorIndex.load(tmp_path).search(AGAINST, 20)
    assert share_found(codes, truth(AGAINST, vectors, "inner_product")) == 1.0
    assert np.isin(codes[:4], UNKNOWN).mean() > 0.5


def test_a_file_far_larger_than_its_vectors_is_not_read(tmp_path, monkeypatch):
    path = saved(tmp_path) / "index.faiss"
    with path.open("ab") as file:
        file.truncate(200_000_000)
    edited(tmp_path, bytes=200_000_000)
    monkeypatch.setattr("pathlib.Path.read_bytes", None)
    with pytest.raises(ArtifactError, match="200,000,000 bytes"):
        VectorIndex.load(tmp_path)


def test_codes_longer_than_the_vectors_are_refused():
    with pytest.raises(ConfigError, match=r"index\.m: found 23, expected at most 22"):
        VectorIndex(VECTORS, spec("pq").model_copy(update={"m": 23}))


def test_what_cannot_be_added_or_removed_is_named():
    index = VectorIndex(VECTORS[:10])
    with pytest.raises(DataError, match=r"found vectors of shape \(1, 3\), expected \(M, 22\)"):
        index.add(np.zeros((1, 3), np.float32))
    with pytest.raises(DataError, match="found the code -1, expected 0 to 9"):
        index.remove(np.array([-1], np.int32))


def test_an_exact_index_holds_its_vectors_once():
    index = VectorIndex(VECTORS)
    held = index._structure.index.get_xb()
    assert index.vectors.__array_interface__["data"][0] == int(held)
    for _ in range(5):
        index.add(VECTORS)
    np.testing.assert_array_equal(index.vectors, np.concatenate([VECTORS] * 6))


@pytest.mark.parametrize("name", ["flat", "sq", "pq"])
def test_vectors_outlive_their_index(name):
    vectors = VectorIndex(VECTORS, spec(name)).vectors
    gc.collect()
    spoilt = [np.full((ITEMS, DIM), np.nan, np.float32) for _ in range(5)]
    np.testing.assert_array_equal(vectors, VECTORS)
    assert np.isnan(spoilt[0]).all()
    with pytest.raises(ValueError, match="read-only"):
        vectors[0] = 0


def test_without_a_gpu_it_says_so():
    if getattr(faiss, "get_num_gpus", int)():
        pytest.skip("there is a GPU")
    with pytest.raises(DataError, match="no GPU that FAISS can use"):
        VectorIndex(VECTORS[:5]).to_gpu()


@pytest.mark.parametrize(("every", "asked"), [(1, 60), (4, 1.5 * 60 * 4)])
def test_lists_too_long_for_a_gpu_come_from_the_cpu(every, asked, monkeypatch):
    monkeypatch.setattr("recsys.retrieval.index.few", lambda spec, items: 0)
    index = VectorIndex(VECTORS, spec("ivf"), seed=3)
    allowed = None if every == 1 else np.arange(0, ITEMS, every, dtype=np.int32)
    expected, _ = index.search(QUERIES, 60, allowed=allowed)

    def search(queries, k, selected):
        raise AssertionError(f"the GPU is asked for {k}")

    index._gpu = stand_in(index._structure, asked - 1, search)
    found, _ = index.search(QUERIES, 60, allowed=allowed)
    assert (found == expected).all()
    index._gpu = stand_in(index._structure, asked, search)
    with pytest.raises(AssertionError, match=f"the GPU is asked for {asked:.0f}"):
        index.search(QUERIES, 60, allowed=allowed)


def stand_in(structure, most, search):
    """What a GPU's structure is to an index."""
    return SimpleNamespace(spec=structure.spec, most=most, selects=False, search=search)


def test_every_thread_searches_on_one_core():
    index, threads = VectorIndex(VECTORS, spec("ivf")), []

    def ask():
        index.search(QUERIES, 5)
        threads.append(faiss.omp_get_max_threads())

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert threads == [1]


@pytest.mark.parametrize("name", SPECS)
def test_queries_of_another_length_are_refused(name):
    index = VectorIndex(VECTORS, spec(name))
    with pytest.raises(DataError, match=r"found queries of shape \(2, 21\), expected \(B, 22\)"):
        index.search(np.zeros((2, 21), np.float32), 5)
    with pytest.raises(DataError, match=r"found queries of shape \(22,\), expected \(B, 22\)"):
        index.score(np.zeros(22, np.float32), np.zeros((1, 1), np.int32))


@pytest.mark.parametrize("metric", METRICS)
def test_a_graph_holds_its_vectors_once_and_grows_after_loading(metric, assert_same_lists, tmp_path):
    index = VectorIndex(VECTORS[:5000], spec("hnsw"), metric=metric, seed=3)
    assert np.shares_memory(index.vectors, index._structure.vectors)
    index.save(tmp_path)
    loaded = VectorIndex.load(tmp_path)
    loaded.add(VECTORS[5000:])
    index.add(VECTORS[5000:])
    assert_same_lists(loaded.search(QUERIES, 20), index.search(QUERIES, 20))
    codes, scores = loaded.search(QUERIES, 20)
    exact = truth(QUERIES, VECTORS, metric)
    assert share_found(codes, exact) >= 0.9
    np.testing.assert_allclose(scores, np.take_along_axis(exact, codes, axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_an_index_that_knows_no_item_finds_none_until_some_are_added(name, tmp_path):
    index = VectorIndex(np.zeros((2000, DIM), np.float32), spec(name))
    codes, scores = index.search(QUERIES[:2], 5)
    assert (codes == -1).all()
    assert np.isneginf(scores).all()
    assert np.isneginf(index.score(QUERIES[:2], np.array([[0], [1999]], np.int32))).all()
    index.add(VECTORS[:3])
    index.save(tmp_path)
    codes, _ = VectorIndex.load(tmp_path).search(QUERIES[:2], 5)
    assert np.sort(codes, axis=1).tolist() == [[-1, -1, 2000, 2001, 2002]] * 2
