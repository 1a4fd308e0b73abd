"""The doctor: each fault and remark is found and says what to do."""

from dataclasses import replace
from pathlib import Path

import pytest

from recsys.doctor import Examination, examine, find_problems

HEALTHY = Examination(
    python="3.11.7",
    system="Linux x86_64",
    cores=2,
    load=0.5,
    memory_mb=8000,
    free_memory_mb=6000,
    free_disk_mb=50_000,
    gpu=False,
    faiss="AVX2",
    versions={
        name: "1.0"
        for name in (
            *("duckdb", "fastapi", "filelock", "numpy", "onnxruntime", "pandas", "pyarrow", "pydantic"),
            *("pyyaml", "scipy", "uvicorn", "faiss-cpu"),
            *("lightgbm", "mlflow", "onnx", "onnxscript", "pytorch-lightning", "torch"),
        )
    },
)


def test_a_healthy_machine_has_no_problems():
    assert find_problems(HEALTHY) == ([], [])


@pytest.mark.parametrize(
    ("versions", "fault"),
    [
        ({"numpy": None, "scipy": None}, "missing: numpy, scipy; install recsys again: pip install recsys"),
        (
            {"faiss-cpu": None},
            "no FAISS: routes with vectors cannot be served; pip install 'recsys[cpu]', or [gpu]",
        ),
        (
            {"faiss-gpu": "1.0"},
            "faiss-cpu and faiss-gpu are both installed and overwrite each other; uninstall both, keep one",
        ),
        (
            {"lightning": "2.6"},
            "pytorch-lightning and lightning are both installed and do not mix; uninstall lightning",
        ),
    ],
)
def test_faults(versions, fault):
    assert find_problems(replace(HEALTHY, versions={**HEALTHY.versions, **versions})) == ([fault], [])


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        (
            {"versions": {**HEALTHY.versions, "torch": None, "mlflow": None}},
            "can serve, cannot train: mlflow, torch missing; pip install 'recsys[train]'",
        ),
        ({"load": 3.5}, "busy: load 3.5 on 2 cores; measured times will be too long"),
        ({"free_memory_mb": 500}, "little memory: 500 MB free"),
        ({"free_disk_mb": 10}, f"little room: 10 MB free on the disk of {Path.cwd()}"),
    ],
)
def test_remarks(changes, remark):
    assert find_problems(replace(HEALTHY, **changes)) == ([], [remark])


def test_it_finds_what_this_machine_has():
    found = examine()
    assert found.cores >= 1
    assert found.versions["numpy"]
    assert found.memory_mb is None or found.memory_mb > (found.free_memory_mb or 0)
