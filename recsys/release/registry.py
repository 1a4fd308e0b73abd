"""Which version serves: champion and challenger pointers beside the bundles, with their history."""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock
from pydantic import PositiveInt, ValidationError

from recsys.bundle.format import open_bundle
from recsys.bundle.store import resolve
from recsys.errors import ArtifactError, InputError, WorkspaceError
from recsys.settings import Settings

__all__ = ["REGISTRY", "Registry", "Role", "Step", "promote", "promoted", "read_registry", "rollback", "serving_bundle"]

REGISTRY = "registry.json"
Role = Literal["champion", "challenger"]


class Step(Settings):
    """One change of a pointer."""

    role: Role
    version: PositiveInt | None
    previous: PositiveInt | None
    at: str
    """UTC, ISO 8601."""


class Registry(Settings):
    """The pointers and how they came to stand where they stand."""

    champion: PositiveInt | None = None
    """The version in service; `null`: the latest."""
    challenger: PositiveInt | None = None
    """The version compared with it."""
    history: tuple[Step, ...] = ()


def read_registry(bundles: Path) -> Registry:
    """The pointers of a folder of bundles; none when nothing was ever promoted.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = bundles / REGISTRY
    if not path.exists():
        return Registry()
    try:
        return Registry.model_validate_json(path.read_bytes())
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        raise ArtifactError(f"{path}: {what}; restore it, or remove it and promote again") from None


def promote(bundles: Path, version: int, *, role: Role = "champion") -> Registry:
    """Points `role` at a version, once every file of that bundle has been checked.

    Raises:
        BundleError: there is no such version, or it is damaged.
        WorkspaceError: the folder cannot be written.
    """
    open_bundle(resolve(bundles, version))
    return _move(bundles, role, version)


def rollback(bundles: Path, *, role: Role = "champion") -> Registry:
    """Points `role` back at what it pointed at before its last change that was not itself undone.

    Raises:
        InputError: there is nothing to go back to.
        BundleError: the earlier version is gone or damaged.
        WorkspaceError: the folder cannot be written.
    """
    earlier = _earlier(read_registry(bundles), role)
    open_bundle(resolve(bundles, earlier))
    return _move(bundles, role, earlier)


def serving_bundle(path: Path, version: int | None = None) -> Path:
    """The bundle to serve: `path` itself, the pinned version, the champion, or the latest, in this order.

    Raises:
        BundleError: there is no such bundle.
        ArtifactError: the registry is damaged.
    """
    return resolve(path, read_registry(path).champion if version is None else version)


def promoted(registry: Registry) -> set[int]:
    """The versions a pointer stands at or can go back to."""
    return {version for role in get_args(Role) for version in _stack(registry, role)}


def _stack(registry: Registry, role: Role) -> list[int]:
    """The history replayed: promoting pushes, going back pops; the pointer stands at the last."""
    stack: list[int] = []
    for step in registry.history:
        if step.role != role or step.version is None:
            continue
        if len(stack) > 1 and stack[-2] == step.version:
            stack.pop()
        else:
            stack.append(step.version)
    return stack


def _earlier(registry: Registry, role: Role) -> int:
    stack = _stack(registry, role)
    if len(stack) < 2:
        raise InputError(f"{role}: no earlier version to go back to; `recsys models` lists what was promoted")
    return stack[-2]


def _move(bundles: Path, role: Role, version: int) -> Registry:
    try:
        return _moved(bundles, role, version)
    except OSError as error:
        raise WorkspaceError(f"{bundles}: cannot be written ({error.strerror}); check its owner and mode") from error


def _moved(bundles: Path, role: Role, version: int) -> Registry:
    with FileLock(bundles / f".{REGISTRY}.lock"):
        registry = read_registry(bundles)
        previous = registry.champion if role == "champion" else registry.challenger
        if previous == version:
            return registry
        now = datetime.now(UTC).isoformat(timespec="seconds")
        step = Step(role=role, version=version, previous=previous, at=now)
        moved = registry.model_copy(update={role: version, "history": (*registry.history, step)})
        _write(bundles / REGISTRY, moved)
    return moved


def _write(path: Path, registry: Registry) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(registry.model_dump(mode="json"), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(0o644)
    Path(name).replace(path)
