"""Processor time of exporting a ranker by its number of fields, and of scoring 200 candidates of one request with it.

DeepFM over half categories, half numbers, a third of each of the request. `per_field_ratio` says how much more a field
costs at 333 than at 50: 1 is linear.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.processor import processor_seconds
from recsys.features.batch import Field, InputSpec
from recsys.features.onnx import OnnxGraph
from recsys.ranking.registry import build_ranker
from recsys.ranking.settings.crossing import DeepFMConfig
from recsys.release.export import export_onnx, random_inputs

SIZES = (10, 50, 100, 200, 333)
CANDIDATES, REQUESTS = 200, 50


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    seconds, request_ms = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        _exported(SIZES[0], Path(folder))  # imports
        for size in SIZES:
            spec, path, seconds[size] = _exported(size, Path(folder))
            request_ms[size] = _request_ms(spec, path)
    per_field = {size: value / size for size, value in seconds.items()}
    return {
        "ours": round(seconds[SIZES[-1]], 1),
        "unit": f"s of processor time, {SIZES[-1]} fields",
        "target": 15,
        "per_field_ratio": round(per_field[SIZES[-1]] / per_field[50], 2),
        "seconds": {size: round(value, 2) for size, value in seconds.items()},
        "request_ms": {size: round(value, 2) for size, value in request_ms.items()},
    }


def _exported(size: int, folder: Path) -> tuple[InputSpec, Path, float]:
    spec = InputSpec(tuple(_field(number) for number in range(size)), 1)
    ranker = build_ranker(DeepFMConfig(kind="deepfm"), spec).eval()
    path = folder / f"{size}.onnx"
    return spec, path, processor_seconds(lambda: export_onnx(ranker, spec.fields, 1, path, output="logits"))


def _field(number: int) -> Field:
    side = "user" if number % 3 == 0 else "item"
    return Field(f"{side}.field{number}", 100 if number % 2 else 0, 1, f"{side}.field{number}" if number % 2 else "")


def _request_ms(spec: InputSpec, path: Path) -> float:
    graph = OnnxGraph(path)
    inputs = random_inputs(spec.fields, 1, 1, CANDIDATES, np.random.default_rng(0))
    graph.run(inputs)
    return processor_seconds(lambda: [graph.run(inputs) for _ in range(REQUESTS)]) / REQUESTS * 1e3
