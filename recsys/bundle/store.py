"""Bundles on disk: integer versions, staged in a hidden folder, published by one rename."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.bundle.format import MANIFEST
from recsys.errors import BundleError, WorkspaceError

__all__ = ["clean_staging", "latest", "publish", "resolve", "stage", "versions"]

_STAGING = ".staging-"


def versions(bundles: Path) -> list[int]:
    """The published versions, ascending; empty when the folder is not there."""
    if not bundles.is_dir():
        return []
    return sorted(int(path.name) for path in bundles.iterdir() if _is_version(path))


def latest(bundles: Path) -> Path:
    """The bundle with the highest version.

    Raises:
        BundleError: there is none.
    """
    found = versions(bundles)
    if not found:
        raise BundleError(f"{bundles}: no bundle here; `recsys run` builds one")
    return bundles / str(found[-1])


def resolve(path: Path, version: int | None = None) -> Path:
    """The bundle meant by `path`: a bundle itself, or a folder of bundles of which `version` or the latest is meant.

    Raises:
        BundleError: there is no such bundle.
    """
    if version is None:
        return path if (path / MANIFEST).exists() else latest(path)
    if version not in versions(path):
        raise BundleError(f"{path}: no version {version}; found {versions(path) or 'none'}")
    return path / str(version)


@contextmanager
def stage(bundles: Path) -> Iterator[Path]:
    """A fresh folder beside the published versions; whatever is left of it is removed at the end.

    Raises:
        WorkspaceError: the folder of bundles cannot be written.
    """
    try:
        bundles.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=bundles))
    except OSError as error:
        raise WorkspaceError(f"{bundles}: cannot be written ({error.strerror}); check its owner and mode") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clean_staging(bundles: Path) -> None:
    """Removes what a writer that was killed left beside the versions; for a caller who knows that none is at work."""
    for left in bundles.glob(f"{_STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)


def publish(staged: Path) -> Path:
    """Makes a staged folder the next version of the folder it lies in, atomically, and returns its new path.

    Everything is synced to disk before the rename, so that a power cut leaves either the whole version or none.
    Two publishers at once get two numbers.
    """
    bundles = staged.parent
    staged.chmod(0o755)  # mkdtemp gives 0o700, and the server may be another user
    _sync_tree(staged)
    while True:
        target = bundles / str(max(versions(bundles), default=0) + 1)
        try:
            staged.rename(target)
        except OSError:
            if not target.exists():
                raise
        else:
            _sync(bundles)
            return target


def _is_version(path: Path) -> bool:
    return path.name.isascii() and path.name.isdigit() and not path.name.startswith("0") and path.is_dir()


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            _sync(Path(root) / name)
        _sync(Path(root))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
