"""Trained modules become ONNX graphs, if the two agree."""

import contextlib
import io
import itertools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from recsys.errors import ParityError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field
from recsys.features.onnx import OnnxGraph
from recsys.nn.stacked import StackedInputs, columns

__all__ = ["TOLERANCE", "check_parity", "export_onnx", "random_inputs"]

TOLERANCE = 2e-5
"""Largest |Δ| ≤ TOLERANCE · (1 + max |score|): twice what different kernels were seen to differ by."""
_REQUESTS = (1, 2, 7, 64)
_CANDIDATES = (1, 2, 13, 200)
_EXAMPLE = (3, 7)
"""B and C of the traced example: unlike one another and unlike any other size, so that no axis is taken for another."""

Output = Literal["logits", "vector"]
_Array = NDArray[Any]


def export_onnx(
    module: nn.Module,
    fields: Sequence[Field],
    history_length: int,
    path: Path,
    *,
    output: Output,
    tolerance: float = TOLERANCE,
) -> None:
    """Writes a module as an ONNX graph with any number of requests and candidates, and checks it against the module.

    Args:
        module: in evaluation mode; `forward(inputs)` takes the fields by name.
        fields: the graph's inputs, in order.
        history_length: L, length of `history.*` inputs.
        path: of the graph; nothing is left there when the check fails.
        output: `logits` `(B, C, T)`, or `vector` `(B, D)`, of a module that reads no candidate.
        tolerance: of the check.

    Raises:
        ParityError: graph and module disagree, or there is no such graph.
    """
    example = _tensors(random_inputs(fields, history_length, *_EXAMPLE, np.random.default_rng(0)))
    groups = _groups(fields)
    stacked = {name: columns(example, some) for name, some in groups.items()}
    model = _traced(_ByGroup(module, groups), stacked, [_dynamic(some[0]) for some in groups.values()], output)
    _split_inputs(model, groups, [field.name for field in fields])
    path.write_bytes(_stripped(model).SerializeToString())
    try:
        check_parity(module, OnnxGraph(path), fields, history_length, tolerance=tolerance)
    except BaseException:
        path.unlink()
        raise


def _traced(
    module: "_ByGroup", example: Mapping[str, Tensor], dynamic: Sequence[dict[int, Any]], output: Output
) -> onnx.ModelProto:
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                tuple(example.values()),
                dynamo=True,
                input_names=list(example),
                output_names=[output],
                dynamic_shapes=(tuple(dynamic),),
                verbose=False,
            )
    except Exception as error:
        raise ParityError(
            f"{type(module.module).__name__} has no graph that works for any number of requests and candidates; look "
            f"for a branch on a shape or a value: {str(error.__cause__ or error).strip()}"
        ) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def check_parity(
    module: nn.Module, graph: OnnxGraph, fields: Sequence[Field], history_length: int, *, tolerance: float = TOLERANCE
) -> None:
    """Compares graph and module on random inputs of one, two, odd and many requests and candidates.

    Raises:
        ParityError: they differ by more than the tolerance, or a result is not finite.
    """
    by_candidate = any(field.side in ("item", "route") for field in fields)
    shapes = itertools.product(_REQUESTS, _CANDIDATES if by_candidate else (1,))
    for seed, (requests, candidates) in enumerate(shapes):
        inputs = random_inputs(fields, history_length, requests, candidates, np.random.default_rng(seed))
        with torch.no_grad():
            expected = module(_tensors(inputs)).numpy()
        where = f"{requests} requests × {candidates} candidates (inputs of seed {seed})"
        _compare(expected, graph.run(inputs), where, tolerance)


def _compare(expected: _Array, found: _Array, where: str, tolerance: float) -> None:
    if expected.shape != found.shape:
        raise ParityError(f"{where}: the graph gives {found.shape}, the module {expected.shape}")
    for whose, values in (("module", expected), ("graph", found)):
        if not np.isfinite(values).all():
            raise ParityError(
                f"{where}: the {whose} gives numbers that are not finite; look for a logarithm or a division"
            )
    difference = float(np.abs(expected - found).max())
    allowed = tolerance * (1 + float(np.abs(expected).max()))
    if difference > allowed:
        raise ParityError(
            f"{where}: graph and module differ by {difference:.3g}, expected at most {allowed:.3g}; look for an "
            "operation that behaves differently when exported, such as dropout left on or a branch on a value"
        )


def random_inputs(
    fields: Sequence[Field], history_length: int, requests: int, candidates: int, rng: np.random.Generator
) -> dict[str, _Array]:
    """Inputs of every kind a model can meet.

    Histories of all lengths, the first of several empty and the last full; a third of all rows padding or unknown;
    numbers up to some thousands.
    """
    lengths = rng.integers(0, history_length + 1, requests)
    lengths[[0, -1]] = (0, history_length) if requests > 1 else rng.choice([0, history_length])
    mask = (np.arange(history_length) < lengths[:, None]).astype(np.float32)
    leading = {"user": (requests,), "context": (requests,), "history": (requests, history_length)}
    inputs: dict[str, _Array] = {}
    for field in fields:
        shape = leading.get(field.side, (requests, candidates)) + ((field.width,) if field.width > 1 else ())
        if field == HISTORY_MASK:
            inputs[field.name] = mask
        elif field.is_index:
            rows = np.where(rng.random(shape) < 1 / 3, rng.integers(0, 2, shape), rng.integers(0, field.rows, shape))
            inputs[field.name] = rows if field.side != "history" else rows * _along(mask, rows.ndim).astype(np.int64)
        else:
            numbers = rng.normal(size=shape) * rng.choice([1.0, 1000.0], shape)
            inputs[field.name] = numbers.astype(np.float32)
    return inputs


def _along(mask: _Array, axes: int) -> _Array:
    return mask.reshape(mask.shape + (1,) * (axes - mask.ndim))


def _groups(fields: Sequence[Field]) -> dict[str, list[Field]]:
    """Fields with the same leading axes and type, by the name that their values side by side have in the graph."""
    groups: dict[str, list[Field]] = {}
    for field in fields:
        side = {"context": "user", "route": "item"}.get(field.side, field.side)
        groups.setdefault(f"grouped.{side}.{'rows' if field.is_index else 'numbers'}", []).append(field)
    return groups


class _ByGroup(nn.Module):
    """A module that takes its inputs by group instead of by name.

    Tracing costs time for every operation, most of all for those on inputs, so that hundreds of fields took minutes:
    the graph is traced over a few tensors that hold all of them.
    """

    def __init__(self, module: nn.Module, groups: Mapping[str, Sequence[Field]]) -> None:
        super().__init__()
        self.module = module
        self.groups = list(groups.values())

    def forward(self, *values: Tensor) -> Tensor:
        """The module's output."""
        out: Tensor = self.module(StackedInputs(list(zip(self.groups, values, strict=True))))
        return out


def _split_inputs(model: onnx.ModelProto, groups: Mapping[str, Sequence[Field]], names: Sequence[str]) -> None:
    """Makes the fields the inputs of a graph whose inputs are groups of them.

    No field is called `column.…` or `grouped.…`: names of fields begin with their side.
    """
    graph, nodes = model.graph, []
    leading = {value.name: [_axis(axis) for axis in value.type.tensor_type.shape.dim[:-1]] for value in graph.input}
    axis = numpy_helper.from_array(np.array([-1], dtype=np.int64), "last_axis")
    inputs = {}
    for group, fields in groups.items():
        kind = onnx.TensorProto.INT64 if fields[0].is_index else onnx.TensorProto.FLOAT
        for field in fields:
            shape = leading[group] + ([field.width] if field.width > 1 else [])
            inputs[field.name] = onnx.helper.make_tensor_value_info(field.name, kind, shape)
            if field.width == 1:
                nodes.append(onnx.helper.make_node("Unsqueeze", [field.name, axis.name], [f"column.{field.name}"]))
        parts = [field.name if field.width > 1 else f"column.{field.name}" for field in fields]
        nodes.append(onnx.helper.make_node("Concat", parts, [group], axis=-1))
    traced = list(graph.node)
    del graph.input[:], graph.node[:]
    graph.input.extend(inputs[name] for name in names)
    graph.node.extend([*nodes, *traced])
    graph.initializer.append(axis)


def _axis(axis: onnx.TensorShapeProto.Dimension) -> str | int:
    return axis.dim_param or axis.dim_value


def _dynamic(field: Field) -> dict[int, Any]:
    axes: dict[int, Any] = {0: torch.export.Dim("B", min=1)}
    if field.side in ("item", "route"):
        axes[1] = torch.export.Dim("C", min=1)
    return axes


def _tensors(inputs: Mapping[str, _Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in inputs.items()}


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes: they hold stack traces, and with them the paths of this machine."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        del graph.metadata_props[:]
        graph.doc_string = ""
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in [*getattr(graph, "input", ()), *getattr(graph, "output", ()), *graph.value_info]:
            if isinstance(value, onnx.ValueInfoProto):
                del value.metadata_props[:]
                value.doc_string = ""
        for tensor in getattr(graph, "initializer", ()):
            del tensor.metadata_props[:]
            tensor.doc_string = ""
    del model.metadata_props[:]
    model.doc_string = ""
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress, which it prints, logs and warns about."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
