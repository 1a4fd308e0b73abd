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
from torch import Tensor, nn

from recsys.errors import ParityError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field
from recsys.features.onnx import OnnxGraph

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
    model = _traced(_ByPosition(module, list(example)), example, [_dynamic(field) for field in fields], output)
    path.write_bytes(_stripped(model).SerializeToString())
    try:
        check_parity(module, OnnxGraph(path), fields, history_length, tolerance=tolerance)
    except BaseException:
        path.unlink()
        raise


def _traced(
    module: "_ByPosition", example: Mapping[str, Tensor], dynamic: Sequence[dict[int, Any]], output: Output
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


class _ByPosition(nn.Module):
    """The exporter names inputs by position; models take them by name."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.names = list(names)

    def forward(self, *values: Tensor) -> Tensor:
        """The module's output."""
        out: Tensor = self.module(dict(zip(self.names, values, strict=True)))
        return out


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
