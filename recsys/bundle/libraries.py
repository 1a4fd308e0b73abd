"""Which library versions built a bundle, and how those that serve it differ."""

from collections.abc import Mapping
from importlib import metadata

__all__ = ["installed_libraries", "mismatches"]

_SERVING = ("faiss-cpu", "faiss-gpu", "numpy", "onnxruntime", "pyarrow", "recsys", "scipy")
_TRAINING = ("onnx", "torch")


def installed_libraries() -> dict[str, str]:
    """The version of every library that an answer may depend on; those that are not installed are left out."""
    found = {}
    for library in (*_SERVING, *_TRAINING):
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def mismatches(built: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """A line for each library that serves in another major or minor version than the one that built.

    Example:
        >>> mismatches({"numpy": "2.1.0", "pyarrow": "20.0.0"}, {"numpy": "2.2.4", "pyarrow": "20.0.1"})
        ['built with numpy 2.1.0, here is 2.2.4']
    """
    return [
        f"built with {name} {built[name]}, here is {here[name]}"
        for name in _SERVING
        if name in built and name in here and _minor(built[name]) != _minor(here[name])
    ]


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
