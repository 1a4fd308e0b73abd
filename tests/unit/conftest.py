"""A small real bundle, built once for the tests of funnel, release and serving."""

import runpy
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_parts(tmp_path_factory):
    """The parts of the tiny bundle. Imported here only: most unit tests need none of it."""
    return runpy.run_path(str(Path(__file__).with_name("tiny.py")))["tiny_parts"](tmp_path_factory.mktemp("ranker"))


@pytest.fixture(scope="session")
def tiny_info():
    """What the tiny bundle says about itself."""
    from recsys.release.build import BundleInfo

    return BundleInfo(name="tiny", config_hash="c", features_hash="f", data_hash="d", protocol="one window")


@pytest.fixture(scope="session")
def tiny_bundle(tiny_parts, tiny_info, tmp_path_factory):
    """A published bundle; tests that change it copy it first."""
    from recsys.release.build import build_bundle

    return build_bundle(tiny_parts, tiny_info, tmp_path_factory.mktemp("bundles"))
