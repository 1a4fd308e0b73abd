"""Shared by all tests."""

import json
import os
import re
import sys
import zlib
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest

from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec
from recsys.funnel.parity import difference

# Before torch is imported, which other conftests do: the models are small, and two threads on a busy machine wait for
# one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def assert_same_lists():
    """Compares ranked lists: scores within the tolerance of the design, codes equal except swaps inside it.

    For the same vectors at other addresses, in batches of another size or under another instruction set. Takes what a
    retriever returns, codes `(B, K)` and scores `(B, K)`, of both sides.
    """

    def check(found, expected):
        for row in range(len(expected[0])):
            lists = [(codes[row] >= 0, codes[row], scores[row]) for codes, scores in (expected, found)]
            ranked = [
                part for real, codes, scores in lists for part in ([*map(str, codes[real])], scores[real].tolist())
            ]
            assert difference(*ranked) is None

    return check


@pytest.fixture(scope="session")
def model_inputs():
    """Inputs of every side and kind: one value, several, numbers; history shares the tables of its items."""
    return InputSpec(
        (
            Field("user.group", 8, 1, "user.group"),
            Field("user.tags", 6, 2, "user.tags"),
            Field("user.age", 0, 1, ""),
            Field("context.hour", 0, 1, ""),
            Field("history.item_id", 20, 1, "item.item_id"),
            Field("history.genres", 7, 3, "item.genres"),
            Field("history.year", 0, 1, ""),
            HISTORY_MASK,
            Field("item.item_id", 20, 1, "item.item_id"),
            Field("item.genres", 7, 3, "item.genres"),
            Field("item.year", 0, 1, ""),
            Field("route.popular.rank", 0, 1, ""),
        ),
        history_length=5,
    )


@pytest.fixture(scope="session")
def small_graph(tmp_path_factory):
    """Path of a handmade graph: logits (B, C, 1) = user.age (B,) + 2 · item.year (B, C)."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    constants = {"two": np.array(2, dtype=np.float32), "one": np.array([1]), "last": np.array([2])}
    nodes = [
        helper.make_node("Mul", ["item.year", "two"], ["doubled"]),
        helper.make_node("Unsqueeze", ["user.age", "one"], ["age"]),
        helper.make_node("Add", ["doubled", "age"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "last"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info("user.age", kind, ["B"]),
        helper.make_tensor_value_info("item.year", kind, ["B", "C"]),
    ]
    output = helper.make_tensor_value_info("logits", kind, ["B", "C", 1])
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", inputs, [output], stored)
    path = tmp_path_factory.mktemp("graph") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def word_model(tmp_path_factory):
    """The current directory holds `model`, which a stand-in for sentence-transformers reads: the sum of its words."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "model").mkdir()
    (folder / "model" / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Words"}]))
    (folder / "model" / "model.safetensors").touch()
    package = ModuleType("sentence_transformers")
    package.__spec__ = ModuleSpec("sentence_transformers", None)
    package.SentenceTransformer = _Words
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(sys.modules, "sentence_transformers", package)
        yield folder / "model"


class _Words:
    def __init__(self, folder, **options):
        assert (options["local_files_only"], options["trust_remote_code"]) == (True, False)

    def encode(self, texts, **options):
        return np.stack([sum(map(self._vector, re.findall(r"\w+", text.lower())), np.zeros(32)) for text in texts])

    def _vector(self, word):
        return np.random.default_rng(zlib.crc32(word.encode())).normal(size=32)
