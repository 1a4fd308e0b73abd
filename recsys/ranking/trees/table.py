"""The table that trees read: one graph makes it, for training and for serving."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recsys.errors import ConfigError
from recsys.features.batch import Field, InputSpec

__all__ = ["Nodes", "TableLayout", "table_nodes"]

WIDEST = 1000
"""Columns that a field of several values may become."""


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Columns of the table, in the order of the spec.

    Attributes:
        names: of each column.
        categorical: its columns whose numbers are categories.
    """

    names: tuple[str, ...]
    categorical: tuple[int, ...]

    @classmethod
    def of(cls, spec: InputSpec) -> "TableLayout":
        """The layout for these inputs.

        A number and a category are a column each; a field of several values is a column for each value it may hold, 1
        where it does.

        Raises:
            ConfigError: a field of several values has too many to be columns.
        """
        names: list[str] = []
        categorical: list[int] = []
        for given in spec.fields:
            if given.width > 1:
                if given.rows > WIDEST:
                    raise ConfigError(
                        f"ranking.model: {given.name} holds several of {given.rows} values, and trees read at most "
                        f"{WIDEST} columns of a field; name it in exclude"
                    )
                names += [f"{given.name}={row}" for row in range(1, given.rows)]
                continue
            if given.is_index:
                categorical.append(len(names))
            names.append(given.name)
        return cls(tuple(names), tuple(categorical))


@dataclass(slots=True)
class Nodes:
    """A graph while it is written.

    Attributes:
        spec: the graph's inputs.
        nodes: its operations.
        constants: its constants.
    """

    spec: InputSpec
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operation: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Adds an operation and gives the name of its output."""
        name = f"{operation}_{len(self.nodes)}"
        given: dict[str, Any] = attributes
        self.nodes.append(helper.make_node(operation, list(inputs), [name], domain=domain, **given))
        return name

    def constant(self, values: Sequence[float], kind: type[np.generic]) -> str:
        """Adds a constant and gives its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype=kind), name))
        return name

    def graph(self, output: str, shape: Sequence[str | int]) -> bytes:
        """The finished graph with one float output of this shape."""
        inputs = [
            helper.make_tensor_value_info(
                f.name, TensorProto.INT64 if f.is_index else TensorProto.FLOAT, [*_leading(f), *_last(f)]
            )
            for f in self.spec.fields
        ]
        last = self.nodes[-1]
        last.output[0] = output
        made = helper.make_graph(
            self.nodes,
            "trees",
            inputs,
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, list(shape))],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 5)]
        content: bytes = helper.make_model(made, opset_imports=opsets, ir_version=10).SerializeToString()
        return content


def table_nodes(graph: Nodes) -> tuple[str, str]:
    """Adds what makes the table `(B·C, F)` of a graph's inputs; gives its name and that of B and C."""
    by_candidate = [f for f in graph.spec.fields if _by_candidate(f)]
    first, start, end = by_candidate[0].name, graph.constant([0], np.int64), graph.constant([2], np.int64)
    sizes = graph.add("Slice", graph.add("Shape", first), start, end)
    shape = graph.add("Concat", sizes, graph.constant([1], np.int64), axis=0)
    columns = [graph.add("Expand", _columns(graph, f), shape) for f in graph.spec.fields]
    joined = graph.add("Concat", *columns, axis=-1)
    width = len(TableLayout.of(graph.spec).names)
    return graph.add("Reshape", joined, graph.constant([-1, width], np.int64)), sizes


def _columns(graph: Nodes, given: Field) -> str:
    """A field as `(B, C or 1, its columns)` numbers."""
    values = given.name
    if given.width > 1:
        possible = graph.constant(range(1, given.rows), np.int64)
        here = graph.add("Equal", graph.add("Unsqueeze", values, graph.constant([-1], np.int64)), possible)
        ones = graph.add("Cast", here, to=TensorProto.FLOAT)
        values = graph.add("ReduceMax", ones, graph.constant([-2], np.int64), keepdims=0)
    else:
        numbers = graph.add("Cast", values, to=TensorProto.FLOAT)
        values = graph.add("Unsqueeze", numbers, graph.constant([-1], np.int64))
    return values if _by_candidate(given) else graph.add("Unsqueeze", values, graph.constant([1], np.int64))


def _by_candidate(given: Field) -> bool:
    return given.side in ("item", "route")


def _leading(given: Field) -> list[str]:
    return ["B", "C"] if _by_candidate(given) else ["B"]


def _last(given: Field) -> list[int]:
    return [given.width] if given.width > 1 else []
