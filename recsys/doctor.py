"""What this machine has, and what is wrong with it; imports nothing that may be missing."""

import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Examination", "examine", "find_problems"]

_NEEDED = (
    "fastapi",
    "filelock",
    "numpy",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "scipy",
    "uvicorn",
)
_FAISS = ("faiss-cpu", "faiss-gpu")
_TRAINING = ("lightgbm", "mlflow", "onnx", "onnxscript", "pytorch-lightning", "torch")
_LITTLE_MEMORY_MB = 2_000
_LITTLE_DISK_MB = 2_000


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes:
        python: its version.
        system: operating system and architecture.
        cores: processor cores this process may use.
        load: mean number of runnable processes over the last minute; `None` where the system does not say.
        memory_mb: memory in all; `None` where the system does not say.
        free_memory_mb: memory that can still be had.
        free_disk_mb: room on the disk of the working folder.
        gpu: whether an NVIDIA driver is there.
        faiss: the instruction sets FAISS was built for, or why it cannot be used.
        versions: installed version of every package that matters, `None` for a missing one.
    """

    python: str
    system: str
    cores: int
    load: float | None
    memory_mb: int | None
    free_memory_mb: int | None
    free_disk_mb: int
    gpu: bool
    faiss: str
    versions: dict[str, str | None]

    def as_dict(self) -> dict[str, Any]:
        """The findings as plain data."""
        return asdict(self)


def examine() -> Examination:
    """Looks at this machine. Takes well under a second: torch is not imported."""
    memory = _memory()
    return Examination(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        memory_mb=memory.get("MemTotal"),
        free_memory_mb=memory.get("MemAvailable"),
        free_disk_mb=shutil.disk_usage(Path.cwd()).free // 2**20,
        gpu=Path("/proc/driver/nvidia/version").exists(),
        faiss=_faiss(),
        versions={name: _version(name) for name in (*_NEEDED, *_FAISS, *_TRAINING, "lightning", "recsys")},
    )


def find_problems(found: Examination) -> tuple[list[str], list[str]]:
    """What is wrong, and what is merely worth knowing; each says what to do."""
    return _faults(found), _remarks(found)


def _faults(found: Examination) -> list[str]:
    faults = []
    missing = [name for name in _NEEDED if found.versions.get(name) is None]
    if missing:
        faults.append(f"missing: {', '.join(missing)}; install recsys again: pip install recsys")
    builds = [name for name in _FAISS if found.versions.get(name)]
    if not builds:
        faults.append("no FAISS: routes with vectors cannot be served; pip install 'recsys[cpu]', or [gpu]")
    if len(builds) > 1:
        faults.append("faiss-cpu and faiss-gpu are both installed and overwrite each other; uninstall both, keep one")
    if found.versions.get("pytorch-lightning") and found.versions.get("lightning"):
        faults.append("pytorch-lightning and lightning are both installed and do not mix; uninstall lightning")
    return faults


def _remarks(found: Examination) -> list[str]:
    remarks = []
    missing = [name for name in _TRAINING if found.versions.get(name) is None]
    if missing:
        remarks.append(f"can serve, cannot train: {', '.join(missing)} missing; pip install 'recsys[train]'")
    if found.load is not None and found.load > found.cores:
        remarks.append(f"busy: load {found.load:g} on {found.cores} cores; measured times will be too long")
    if found.free_memory_mb is not None and found.free_memory_mb < _LITTLE_MEMORY_MB:
        remarks.append(f"little memory: {found.free_memory_mb} MB free")
    if found.free_disk_mb < _LITTLE_DISK_MB:
        remarks.append(f"little room: {found.free_disk_mb} MB free on the disk of {Path.cwd()}")
    return remarks


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _faiss() -> str:
    # The version alone does not say which build is loaded, and a build for another processor fails on import.
    try:
        import faiss
    except ImportError as error:
        return f"not usable: {error}"
    return str(faiss.get_compile_options()).strip()


def _memory() -> dict[str, int]:
    """`MemTotal` and `MemAvailable` in MB; empty where the system does not say."""
    if sys.platform != "linux":
        return {}
    lines = Path("/proc/meminfo").read_text().splitlines()
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    return {name: int(fields[name][0]) // 1024 for name in ("MemTotal", "MemAvailable") if name in fields}
