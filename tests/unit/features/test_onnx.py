"""Exported graphs run, or say why they cannot."""

import re

import numpy as np
import pytest

from recsys.errors import ArtifactError
from recsys.features.onnx import OnnxGraph

AGE = np.array([10.0, 20.0], dtype=np.float32)
YEAR = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=np.float32)
LOGITS = [[[10 + 2 * 1], [10 + 2 * 2], [10 + 2 * 3]], [[20 + 2 * 4], [20 + 2 * 5], [20 + 2 * 6]]]


def test_names_its_inputs_in_order(small_graph):
    assert OnnxGraph(small_graph).inputs == ["user.age", "item.year"]


@pytest.mark.parametrize("names", [("user.age", "item.year"), ("item.year", "user.age")])
def test_finds_inputs_by_name_in_any_order(small_graph, names):
    given = {"user.age": AGE, "item.year": YEAR}
    found = OnnxGraph(small_graph).run({name: given[name] for name in names})
    assert found.dtype == np.float32
    assert found.tolist() == LOGITS


def test_a_missing_input_is_named(small_graph):
    with pytest.raises(ArtifactError, match=r"small\.onnx: no input item\.year; found user\.age, item\.yaer$"):
        OnnxGraph(small_graph).run({"user.age": AGE, "item.yaer": YEAR})


@pytest.mark.parametrize(
    ("wrong", "found"), [(YEAR.astype(np.float64), r"float64 \(2, 3\)"), (YEAR[0], r"float32 \(3,\)")]
)
def test_an_input_of_another_type_or_shape_is_an_error(small_graph, wrong, found):
    expected = rf"small\.onnx: cannot run on these inputs \(.*\); given user\.age float32 \(2,\), item\.year {found}$"
    with pytest.raises(ArtifactError, match=re.compile(expected, re.DOTALL)):
        OnnxGraph(small_graph).run({"user.age": AGE, "item.year": wrong})


@pytest.mark.parametrize("content", [None, b"", b"not a graph"], ids=["missing", "empty", "damaged"])
def test_an_unreadable_graph_says_what_to_do(tmp_path, content):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    expected = rf"^{re.escape(str(path))}: not a graph that can be run \(.*\); export it again$"
    with pytest.raises(ArtifactError, match=re.compile(expected, re.DOTALL)):
        OnnxGraph(path)


def test_a_graph_cannot_read_files_beside_it(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    (tmp_path / "secret.bin").write_bytes(np.ones(4, dtype=np.float32).tobytes())
    outside = onnx.numpy_helper.from_array(np.ones(4, dtype=np.float32), "outside")
    onnx.external_data_helper.set_external_data(outside, "secret.bin", offset=0, length=16)
    outside.ClearField("raw_data")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "outside"], ["y"])],
        "reader",
        [helper.make_tensor_value_info("x", kind, [4])],
        [helper.make_tensor_value_info("y", kind, [4])],
        [outside],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=10).SerializeToString())
    with pytest.raises(ArtifactError, match="export it again"):
        OnnxGraph(path)
