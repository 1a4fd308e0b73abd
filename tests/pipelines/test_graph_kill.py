"""Runs that are killed, for real, at any moment: what is on disk is whole, and a new run completes it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.store import MANIFEST, read_artifact

SCRIPT = Path(__file__).with_name("toy_run.py")


def start(workspace):
    process = subprocess.Popen([sys.executable, str(SCRIPT), str(workspace)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def contents(workspace):
    return {
        str(path.relative_to(workspace)): path.read_bytes()
        for path in sorted((workspace / "artifacts").rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("undisturbed")
    began = time.perf_counter()
    with start(workspace) as process:
        assert process.wait() == 0
    return contents(workspace), time.perf_counter() - began


def test_kill_at_random_moments_then_run_again_gives_the_same_bytes(tmp_path, undisturbed):
    expected, seconds = undisturbed
    draw = random.Random(0)
    killed = 0
    for _ in range(10):
        with start(tmp_path) as process:
            time.sleep(draw.uniform(0, seconds / 3))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
        for manifest in tmp_path.glob(f"artifacts/*/[!.]*/{MANIFEST}"):
            artifact = read_artifact(manifest.parent)
            for name, (_, size) in artifact.files.items():
                assert (manifest.parent / name).stat().st_size == size
        # A folder with a final name is a whole artifact: none is without its manifest.
        assert all((folder / MANIFEST).exists() for folder in tmp_path.glob("artifacts/*/[!.]*"))
    assert killed > 0
    with start(tmp_path) as process:
        assert process.wait() == 0
    assert contents(tmp_path) == expected
    assert not list(tmp_path.rglob(".tmp-*"))
    assert (tmp_path / "latest.json").exists()


def test_an_interrupt_cleans_up_and_the_next_run_goes_on(tmp_path, undisturbed):
    expected, seconds = undisturbed
    with start(tmp_path) as process:
        time.sleep(seconds / 4)
        process.send_signal(signal.SIGINT)
        # Uncaught by this script; the command line turns it into a message and 130.
        assert process.wait() in {-signal.SIGINT, 130, 0}
    assert not list(tmp_path.rglob(".tmp-*"))
    with start(tmp_path) as process:
        assert process.wait() == 0
    assert contents(tmp_path) == expected


def test_a_lock_does_not_outlive_its_process(tmp_path):
    with start(tmp_path) as process:
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    with start(tmp_path) as process:
        assert process.wait(30) == 0
