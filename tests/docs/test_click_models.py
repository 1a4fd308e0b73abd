"""The commands of the page about click models, on a small log."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from starlette.testclient import TestClient

from recsys.cli import run_command
from recsys.config import Config
from recsys.ranking.configs import MULTI_TASK
from recsys.serving.app import create_app
from recsys.serving.schema import MAX_ROWS
from recsys.settings import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "click-models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
CONFIG, TASKS = (text for kind, text in BLOCKS if kind == "yaml")
BODY = next(json.loads(text) for kind, text in BLOCKS if kind == "json")


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Three files of a few rows whose clicks depend on a number and a category."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, count in {"train": 400, "valid": 100, "test": 200}.items():
        with Path(f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["label", "I1", "I2", "C1", "C2", "C3"])
            for row in range(count):
                number, group = float(rng.normal()), int(rng.integers(8))
                label = int(rng.random() < 1 / (1 + np.exp(-(2 * number + 3 * (group % 2) - 2))))
                writer.writerow(
                    [label, f"{number:.3f}" if row % 9 else "", row % 5, f"c{group}", f"d{row % 3}", row % 50]
                )
    Path("clicks.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def test_the_page_runs_as_written(log):
    commands = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
    assert [line.split()[1] for line in commands] == ["run", "report", "score-rows", "serve"]
    for line in commands[:-1]:
        assert run_command(shlex.split(line)[1:]) == 0
    scores = pq.read_table("scores.parquet").to_pydict()
    with Path("test.csv").open() as file:
        labels = [int(row["label"]) for row in csv.DictReader(file)]
    assert scores["row"] == list(range(200))
    assert roc_auc_score(labels, scores["probability"]) > 0.65
    with TestClient(create_app(log / "workspace" / "clicks" / "bundles")) as client:
        answer = client.post("/v1/predict", json=BODY).json()
    assert list(answer) == ["bundle", "bundle_version", "predictions"]
    assert [set(one) for one in answer["predictions"]] == [{"score", "probability"}] * 2


def test_the_tasks_of_the_page_make_a_configuration(tmp_path):
    config = yaml.safe_load(CONFIG)
    config["data"]["interactions"]["labels"] = ["click", "purchase"]
    config["data"]["positive"]["label"] = "click"
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump({**config, **yaml.safe_load(TASKS)}), encoding="utf-8")
    assert list(load_settings(Config, tmp_path / "tasks.yaml").ranking.tasks) == ["click", "purchase"]
    assert set(re.search(r"# or (.*)", TASKS)[1].split(", ")) == set(MULTI_TASK) - {"mmoe"}


def test_the_limit_is_the_limit():
    assert f"At most {MAX_ROWS:,} rows a request" in PAGE
