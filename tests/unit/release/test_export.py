"""Export, and a gate that real faults cannot pass."""

import logging
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from recsys.errors import ParityError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field
from recsys.features.onnx import OnnxGraph
from recsys.nn.embedding import EmbeddingCollection
from recsys.nn.stacked import columns
from recsys.release.export import TOLERANCE, check_parity, export_onnx, random_inputs

AGE, YEAR = Field("user.age", 0, 1, ""), Field("item.year", 0, 1, "")
PAST, GENRES = Field("history.item_id", 9, 1, "item.item_id"), Field("item.genres", 50, 3, "item.genres")
NUMBERS = (AGE, YEAR)
LENGTH = 4


class Sum(nn.Module):
    """logit = age + 2 · year."""

    def forward(self, inputs):
        return (inputs["user.age"].unsqueeze(1) + 2 * inputs["item.year"]).unsqueeze(-1)


class Encoder(nn.Module):
    """The mean of the past items' vectors."""

    def __init__(self):
        super().__init__()
        self.table = EmbeddingCollection([PAST], 3, std=1.0)

    def forward(self, inputs):
        mask = inputs[HISTORY_MASK.name].unsqueeze(-1)
        vectors = self.table(inputs, [PAST]).squeeze(-2) * mask
        return vectors.sum(1) / mask.sum(1).clamp(min=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Path of the exported `Sum`."""
    path = tmp_path_factory.mktemp("export") / "sum.onnx"
    export_onnx(Sum(), NUMBERS, LENGTH, path, output="logits")
    return path


def test_a_ranker_takes_any_number_of_requests_and_candidates(exported):
    graph = OnnxGraph(exported)
    assert graph.inputs == ["user.age", "item.year"]
    age, year = np.array([1, 2], dtype=np.float32), np.arange(2 * 500, dtype=np.float32).reshape(2, 500)
    assert np.array_equal(graph.run({"item.year": year, "user.age": age})[..., 0], age[:, None] + 2 * year)


def test_a_query_encoder_reads_no_candidate(tmp_path):
    torch.manual_seed(0)
    model, path = Encoder(), tmp_path / "encoder.onnx"
    export_onnx(model, (PAST, HISTORY_MASK), LENGTH, path, output="vector")
    table = model.table.weight.detach().numpy()
    rows = {
        "history.item_id": np.array([[3, 5, 0, 0], [0, 0, 0, 0]]),
        "history.mask": np.float32([[1, 1, 0, 0], [0] * 4]),
    }
    expected = np.stack([(table[3] + table[5]) / 2, np.zeros(3)])
    np.testing.assert_allclose(OnnxGraph(path).run(rows), expected, atol=1e-6)


def test_names_its_output(exported):
    model = onnx.load(exported)
    assert [value.name for value in model.graph.output] == ["logits"]


def test_same_model_same_bytes(exported, tmp_path):
    export_onnx(Sum(), NUMBERS, LENGTH, tmp_path / "again.onnx", output="logits")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


def test_the_file_tells_nothing_of_the_machine(exported):
    content = exported.read_bytes()
    for word in (str(Path.home()), str(Path(__file__).parent), torch.__path__[0], "site-packages", ".py", "Traceback"):
        assert word.encode() not in content, word


def test_says_nothing(tmp_path, capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        export_onnx(Sum(), NUMBERS, LENGTH, tmp_path / "quiet.onnx", output="logits")
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


class DropoutOn(nn.Module):
    """Behaves in training unlike in evaluation, and was left in training."""

    def forward(self, inputs):
        return nn.functional.dropout(Sum()(inputs), 0.5, training=True)


class ExportedOtherwise(nn.Module):
    """Takes another way while it is exported."""

    def forward(self, inputs):
        logits = Sum()(inputs)
        return logits if torch.compiler.is_compiling() else logits.abs()


class Remembering(nn.Module):
    """Shifts by what it has seen before: the graph has the shift of one moment."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return Sum()(inputs) + float(self.calls)


class BranchOnShape(nn.Module):
    """Long lists are treated otherwise."""

    def forward(self, inputs):
        logits = Sum()(inputs)
        return logits if inputs["item.year"].shape[1] < 100 else logits * 2


class NotANumber(nn.Module):
    """The logarithm of numbers that may be negative."""

    def forward(self, inputs):
        return Sum()(inputs).log()


@pytest.mark.parametrize("fault", [DropoutOn, ExportedOtherwise, Remembering, BranchOnShape])
def test_the_gate_stops_a_graph_that_differs(fault, tmp_path):
    path = tmp_path / "model.onnx"
    expected = (
        r"^1 requests × \d+ candidates \(inputs of seed \d\): graph and module differ by [\d.e+-]+, "
        r"expected at most [\d.e+-]+; look for an operation that behaves differently when exported, "
        r"such as dropout left on or a branch on a value$"
    )
    with pytest.raises(ParityError, match=expected):
        export_onnx(fault().eval(), NUMBERS, LENGTH, path, output="logits")
    assert not path.exists()


def test_the_gate_stops_numbers_that_are_not_finite(tmp_path):
    expected = (
        r"^1 requests × \d+ candidates \(inputs of seed \d\): the module gives numbers that are not finite; "
        r"look for a logarithm or a division$"
    )
    with pytest.raises(ParityError, match=expected):
        export_onnx(NotANumber(), NUMBERS, LENGTH, tmp_path / "model.onnx", output="logits")


class BranchOnValue(nn.Module):
    """Positive numbers are treated otherwise."""

    def forward(self, inputs):
        logits = Sum()(inputs)
        return logits if bool((inputs["item.year"] > 0).all()) else logits * 2


def test_a_branch_that_cannot_be_exported_is_named(tmp_path):
    expected = (
        r"^BranchOnValue has no graph that works for any number of requests and candidates; "
        r"look for a branch on a shape or a value: .+"
    )
    with pytest.raises(ParityError, match=re.compile(expected, re.DOTALL)):
        export_onnx(BranchOnValue(), NUMBERS, LENGTH, tmp_path / "model.onnx", output="logits")
    assert list(tmp_path.iterdir()) == []


class Shifted(nn.Module):
    """`Sum`, off by so much of its size."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, inputs):
        logits = Sum()(inputs)
        return logits + self.share * (1 + logits.abs().max())


@pytest.mark.parametrize(("share", "passes"), [(0.9, True), (1.5, False)])
def test_the_tolerance_is_a_share_of_one_plus_the_largest_score(exported, share, passes):
    graph, module = OnnxGraph(exported), Shifted(share * 1e-3)
    if passes:
        check_parity(module, graph, NUMBERS, LENGTH, tolerance=1e-3)
    else:
        with pytest.raises(
            ParityError, match=r"^1 requests × 1 candidates \(inputs of seed 0\): graph and module differ"
        ):
            check_parity(module, graph, NUMBERS, LENGTH, tolerance=1e-3)
    assert TOLERANCE == 2e-5


class Flat(nn.Module):
    def forward(self, inputs):
        return Sum()(inputs).squeeze(-1)


def test_another_shape_is_a_difference(exported):
    expected = r"^1 requests × 1 candidates \(inputs of seed 0\): the graph gives \(1, 1, 1\), the module \(1, 1\)$"
    with pytest.raises(ParityError, match=expected):
        check_parity(Flat(), OnnxGraph(exported), NUMBERS, LENGTH)


def test_random_inputs_meet_every_case():
    fields = (AGE, PAST, HISTORY_MASK, GENRES, YEAR)
    inputs = random_inputs(fields, LENGTH, 64, 13, np.random.default_rng(0))
    assert list(inputs) == [field.name for field in fields]
    shapes = {"user.age": (64,), "history.item_id": (64, 4), "history.mask": (64, 4), "item.genres": (64, 13, 3)}
    assert {name: values.shape for name, values in inputs.items()} == shapes | {"item.year": (64, 13)}
    lengths = inputs["history.mask"].sum(axis=1)
    assert (lengths[0], lengths[-1], set(lengths)) == (0, LENGTH, set(range(LENGTH + 1)))
    right_padded = np.arange(LENGTH) < lengths[:, None]
    assert np.array_equal(inputs["history.mask"] > 0, right_padded)
    assert not inputs["history.item_id"][~right_padded].any()
    assert set(inputs["item.genres"].ravel()) == set(range(50))
    assert np.isin(inputs["item.genres"], [0, 1]).mean() > 1 / 4, "padding and unknown rows are common"
    assert np.abs(inputs["item.year"]).max() > 1000
    assert {values.dtype.name for values in inputs.values()} == {"int64", "float32"}


def test_a_single_request_is_tried_with_and_without_history():
    drawn = [random_inputs((HISTORY_MASK,), LENGTH, 1, 1, np.random.default_rng(seed)) for seed in range(4)]
    assert {float(inputs["history.mask"].sum()) for inputs in drawn} == {0, LENGTH}


class Wide(nn.Module):
    """logit = the sum of all numbers and of an embedding of every index field."""

    def __init__(self, fields):
        super().__init__()
        self.sides = {side: [f for f in fields if f.side == side] for side in ("user", "item")}
        self.table = EmbeddingCollection([f for f in fields if f.is_index], 1, std=1.0)

    def forward(self, inputs):
        return self.of(inputs, "user").unsqueeze(1) + self.of(inputs, "item")

    def of(self, inputs, side):
        index = [f for f in self.sides[side] if f.is_index]
        numbers = [f for f in self.sides[side] if not f.is_index]
        return self.table(inputs, index).sum(-2) + columns(inputs, numbers).sum(-1, keepdim=True)


def test_what_is_traced_does_not_grow_with_the_fields(tmp_path):
    left = []
    for count in (2, 40):
        sides = [f"{side}.f{number}" for number in range(count) for side in ("user", "item")]
        fields = [Field(f"{name}{kind}", rows, 1, name) for name in sides for kind, rows in (("", 0), ("rows", 5))]
        path = tmp_path / f"{count}.onnx"
        export_onnx(Wide(fields).eval(), fields, LENGTH, path, output="logits")
        assert OnnxGraph(path).inputs == [field.name for field in fields]
        left.append(len(onnx.load(path).graph.node) - len(fields))
    assert left[0] == left[1]


def test_no_column_name_collides_with_what_the_graph_calls_its_parts(tmp_path):
    names = [f"{side}.{name}" for side in ("user", "item") for name in ("rows", "a", "a.column", "numbers")]
    fields = [Field(name, 0 if "a" in name else 5, 1, name) for name in names]
    export_onnx(Wide(fields).eval(), fields, LENGTH, tmp_path / "graph.onnx", output="logits")
    assert OnnxGraph(tmp_path / "graph.onnx").inputs == names
