"""A shop whose pipeline has run once, and logs of a test's own with what was made of them."""

import csv
import json
import runpy
from pathlib import Path

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
