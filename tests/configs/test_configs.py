"""Every configuration that ships is code, and tested as such."""

from pathlib import Path

import pytest

from recsys.config import Config
from recsys.settings import dump_settings, load_settings

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.rglob("*.yaml"))


@pytest.fixture(params=CONFIGS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def path(request):
    return request.param


def test_there_are_configurations():
    assert {"movielens-100k.yaml", "movielens-100k-click.yaml"} <= {path.name for path in CONFIGS}


def test_it_loads_and_round_trips(path, tmp_path):
    config = load_settings(Config, path, environ={})
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_settings(config), encoding="utf-8")
    assert load_settings(Config, copy, environ={}) == config


def test_its_first_line_says_how_to_run_it(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# Run me: recsys run {path.relative_to(FOLDER.parent).as_posix()}"


def test_its_name_and_workspace_are_its_own(path):
    config = load_settings(Config, path, environ={})
    assert config.name == path.stem
    assert config.workspace == f"workspace/{path.stem}"


def test_a_setting_can_be_replaced(path):
    config = load_settings(Config, path, overrides=["seed=7", "tracking.kind=none"], environ={})
    assert (config.seed, config.tracking.kind) == (7, "none")
