"""A shop whose pipeline has run once."""

import runpy
from pathlib import Path

import pytest


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
