"""A shop whose pipeline has run once, and logs of a test's own with what was made of them."""

import csv
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from pipelines.run import run_pipeline
from recsys.config import Config
from recsys.funnel.runtime import Funnel
from recsys.settings import load_settings


@pytest.fixture(scope="session")
def shop():
    """`write_shop` and friends."""
    return runpy.run_path(str(Path(__file__).with_name("shop.py")))


@pytest.fixture(scope="session")
def finished(shop, tmp_path_factory):
    """A folder in which the shop's pipeline ran; tests that change it copy it first."""
    from recsys.cli import run_command

    folder = tmp_path_factory.mktemp("shop")
    shop["write_shop"](folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command(["run", "shop.yaml"]) == 0
    return folder


@pytest.fixture(scope="session")
def write_csv():
    """Writes a table: `(path, header, rows)`."""

    def write(path, header, rows):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])

    return write


@pytest.fixture
def run_to_bundle(monkeypatch):
    """Runs a configuration in its folder: gives the metrics of its report and the funnel of its bundle."""

    def run(path, *overrides):
        monkeypatch.chdir(path.parent)
        artifacts = run_pipeline(load_settings(Config, path.name, overrides=overrides)).artifacts
        metrics = json.loads((artifacts["evaluate"].folder / "metrics.json").read_text(encoding="utf-8"))
        return metrics, Funnel.load(artifacts["bundle"].folder / "bundles" / "1")

    return run


@pytest.fixture(scope="module", autouse=True)
def shared_graphs():
    """Models of the same shape are traced once: later ones get the graph of the first with weights of their own.

    Half of the processor time of a small pipeline goes into tracing. The graph is compared with the model here, on the
    example, and by the gate of the export as ever; the contracts of rankers and routes trace every model by itself.
    """
    from recsys.release import export

    traced = export._traced
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_traced", lambda *given: _from_known(traced, *given))
        yield


_KNOWN = {}


def _from_known(traced, module, example, dynamic, output):
    weights = {name: values.detach().numpy() for name, values in module.state_dict().items()}
    key = repr((module, [(n, v.shape) for n, v in [*weights.items(), *example.items()]], output))
    if key in _KNOWN and _agree(model := _with_weights(*_KNOWN[key], weights), module, example):
        return model
    model = traced(module, example, dynamic, output)
    _KNOWN[key] = model, {name: place for name, values in _stored(model) if (place := _place(name, values, weights))}
    return _with_weights(*_KNOWN[key], weights)


def _stored(model):
    from onnx.numpy_helper import to_array

    return [(tensor.name, to_array(tensor)) for tensor in model.graph.initializer]


def _place(name, values, weights):
    """Which weight a tensor of the graph is, and whether it is transposed, as the exporter stores those of layers."""
    if name in weights:
        return name, False
    alike = [n for n, w in weights.items() if values.size > 1 and w.dtype == values.dtype]
    return next(((n, t) for n in alike for t in (False, True) if np.array_equal(_turned(weights[n], t), values)), None)


def _turned(values, transposed):
    return np.swapaxes(values, -1, -2) if transposed and values.ndim > 1 else values


def _with_weights(known, places, weights):
    from onnx import ModelProto
    from onnx.numpy_helper import from_array

    model = ModelProto()
    model.CopyFrom(known)
    for stored in model.graph.initializer:
        if stored.name in places:
            name, transposed = places[stored.name]
            stored.CopyFrom(from_array(np.ascontiguousarray(_turned(weights[name], transposed)), stored.name))
    return model


def _agree(model, module, example):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    found = session.run(None, {name: values.numpy() for name, values in example.items() if name in wanted})[0]
    expected = module(*example.values()).detach().numpy()
    return found.shape == expected.shape and np.allclose(found, expected, rtol=1e-4, atol=1e-4)
