"""What every retriever promises."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from scipy import sparse

from recsys.errors import ArtifactError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec, QueryBatch
from recsys.retrieval.base import Retriever
from recsys.retrieval.encoders import OnnxQueryEncoder
from recsys.retrieval.index import VectorIndex
from recsys.retrieval.lookup import LookupRetriever
from recsys.retrieval.neighbours import NeighboursRetriever
from recsys.retrieval.registry import RETRIEVERS, load_retriever, save_retriever
from recsys.retrieval.static import StaticRetriever
from recsys.retrieval.vector import VectorRetriever

ITEMS, LENGTH, DIM = 12, 3, 2
RNG = np.random.default_rng(3)
ITEM_FEATURES = {"item.x": RNG.integers(0, 3, ITEMS).astype(np.float32), "item.y": np.ones(ITEMS, np.float32)}


def static(folder):
    return StaticRetriever(np.array([3, 0, 5, 5, 1, 0, 2, 2, 2, 9, 1, 4], np.float32))


def neighbours(folder):
    # Whole numbers, so that ties are exact.
    weights = np.random.default_rng(1).integers(0, 3, (ITEMS, ITEMS)).astype(np.float32)
    return NeighboursRetriever(sparse.csr_matrix(weights), query_decay=0.5, history=4)


def vector(folder):
    """Query vector: (Σ x of the last items, Σ y of them)."""
    fields = (Field("history.x", 0, 1, ""), Field("history.y", 0, 1, ""), HISTORY_MASK)
    inputs = [helper.make_tensor_value_info(f.name, TensorProto.FLOAT, ["B", LENGTH]) for f in fields]
    axis = onnx.numpy_helper.from_array(np.array([1]), "axis")
    nodes = [
        helper.make_node("ReduceSum", ["history.x", "axis"], ["a"]),
        helper.make_node("ReduceSum", ["history.y", "axis"], ["b"]),
        helper.make_node("ReduceSum", ["history.mask", "axis"], ["n"]),
        helper.make_node("Mul", ["b", "n"], ["c"]),
        helper.make_node("Concat", ["a", "c"], ["vector"], axis=1),
    ]
    output = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["B", DIM])
    graph = helper.make_graph(nodes, "sums", inputs, [output], [axis])
    path = folder / "sums.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    vectors = np.random.default_rng(2).integers(-2, 3, (ITEMS, DIM)).astype(np.float32)
    return VectorRetriever(VectorIndex(vectors), OnnxQueryEncoder(path, InputSpec(fields, LENGTH), ITEM_FEATURES))


def lookup(folder):
    lists = np.random.default_rng(4).integers(0, 3, (4, ITEMS)).astype(np.float32)
    return LookupRetriever(sparse.csr_matrix(lists), "user.group")


MADE = {"lookup": lookup, "static": static, "neighbours": neighbours, "vector": vector}


def test_every_retriever_is_held_to_the_contract():
    assert set(MADE) == set(RETRIEVERS)


@pytest.fixture(params=sorted(MADE))
def retriever(request, tmp_path):
    return MADE[request.param](tmp_path)


def queries(padding=0):
    history = np.array([[0, 1, 2, 3, 4], [5, 9, -1, -1, -1], [-1, -1, -1, -1, -1], [7, 7, 7, -1, -1]], np.int32)
    padded = np.concatenate([history, np.full((4, padding), -1, np.int32)], axis=1)
    groups = {"user.group": np.array([2, 3, 99, 0])}
    return QueryBatch(padded, np.array([5, 2, 0, 3], np.int32), groups)


def oracle(retriever, asked, k, allowed=None):
    """Sorts all items by (−score, code)."""
    everything = np.broadcast_to(np.arange(ITEMS, dtype=np.int32), (len(asked), ITEMS))
    scores = retriever.score(asked, everything)
    rows = []
    for row in scores:
        codes = [c for c in range(ITEMS) if np.isfinite(row[c]) and (allowed is None or c in allowed)]
        best = sorted(codes, key=lambda c: (-row[c], c))[:k]
        rows.append(best + [-1] * (k - len(best)))
    return rows


def test_it_is_a_retriever(retriever):
    assert isinstance(retriever, Retriever)


@pytest.mark.parametrize("k", [1, 2, 5, ITEMS, ITEMS + 3])
def test_lists_are_the_best_items_with_ties_to_the_smaller_code(retriever, k):
    codes, scores = retriever.retrieve(queries(), k)
    assert codes.shape == scores.shape == (4, k)
    assert codes.dtype == np.int32
    assert scores.dtype == np.float32
    assert codes.tolist() == oracle(retriever, queries(), k)
    assert (np.isneginf(scores) == (codes < 0)).all()


@pytest.mark.parametrize("allowed", [[], [4], [0, 3, 9, 11]])
def test_only_allowed_items_come_back(retriever, allowed):
    codes, _ = retriever.retrieve(queries(), 4, allowed=np.array(allowed, np.int32))
    assert codes.tolist() == oracle(retriever, queries(), 4, allowed)


def test_score_agrees_with_retrieve(retriever):
    codes, scores = retriever.retrieve(queries(), 6)
    np.testing.assert_allclose(retriever.score(queries(), codes), scores, rtol=1e-5)


def test_padding_scores_nothing(retriever):
    assert np.isneginf(retriever.score(queries(), np.full((4, 2), -1, np.int32))).all()


def test_a_batch_is_its_requests_one_at_a_time(retriever, assert_same_lists):
    codes, scores = retriever.retrieve(queries(), 5)
    for row in range(4):
        part = slice(row, row + 1)
        assert_same_lists(retriever.retrieve(queries().take(part), 5), (codes[part], scores[part]))


def test_more_padding_changes_nothing(retriever, assert_same_lists):
    assert_same_lists(retriever.retrieve(queries(7), 5), retriever.retrieve(queries(), 5))


def test_it_comes_back_from_disk_the_same(retriever, assert_same_lists, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    save_retriever(retriever, folder)
    assert not {path.suffix for path in folder.iterdir()} & {".pkl", ".pickle", ".pt"}
    again = load_retriever(folder, ITEM_FEATURES)
    assert again.kind == retriever.kind
    assert_same_lists(again.retrieve(queries(), 6), retriever.retrieve(queries(), 6))


def test_every_damaged_or_missing_file_is_noticed(retriever, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    save_retriever(retriever, folder)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 3])
        with pytest.raises(ArtifactError, match=str(folder)):
            load_retriever(folder, ITEM_FEATURES)
        path.unlink()
        with pytest.raises(ArtifactError, match=str(folder)):
            load_retriever(folder, ITEM_FEATURES)
        path.write_bytes(content)


def test_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "retriever.json").write_text('{"kind": "oracle"}')
    with pytest.raises(ArtifactError, match="kind 'oracle', expected one of lookup, neighbours, static, vector"):
        load_retriever(tmp_path, {})


def test_weights_that_point_outside_the_catalogue_are_refused(tmp_path):
    save_retriever(neighbours(tmp_path), tmp_path)
    indices = np.load(tmp_path / "indices.npy")
    indices[0] = ITEMS + 40
    np.save(tmp_path / "indices.npy", indices)
    with pytest.raises(ArtifactError, match="not neighbour weights"):
        load_retriever(tmp_path, {})


def test_vectors_that_are_not_finite_are_refused(tmp_path):
    save_retriever(vector(tmp_path), tmp_path)
    np.save(tmp_path / "vectors.npy", np.full((ITEMS, DIM), np.nan, np.float32))
    with pytest.raises(ArtifactError, match="expected finite"):
        load_retriever(tmp_path, ITEM_FEATURES)


def test_large_indexes_settle_ties_exactly():
    rng = np.random.default_rng(0)
    vectors = rng.integers(-1, 2, (5000, 3)).astype(np.float32)
    asked = rng.integers(-1, 2, (20, 3)).astype(np.float32)
    codes, scores = VectorIndex(vectors).search(asked, 7)
    products = asked @ vectors.T
    for row in range(20):
        expected = sorted(range(5000), key=lambda c: (-products[row, c], c))[:7]
        assert codes[row].tolist() == expected
        assert scores[row].tolist() == products[row, expected].tolist()
