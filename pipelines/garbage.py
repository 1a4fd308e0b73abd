"""What the disk of a workspace holds, and clearing away what no run and no bundle needs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.graph import StageStatus, plan
from pipelines.stage import Stage
from pipelines.store import Store, in_plain_words
from recsys.bundle.store import versions
from recsys.release.registry import promoted, read_registry

__all__ = ["Holding", "Leftover", "collect", "find_leftovers", "holdings"]


@dataclass(frozen=True, slots=True)
class Leftover:
    """A folder nothing needs.

    Attributes:
        folder: where it is.
        what: the stage whose output it is, or the version of a bundle.
        size: bytes.
    """

    folder: Path
    what: str
    size: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A part of the workspace and the bytes it takes."""

    what: str
    size: int


def find_leftovers(stages: Sequence[Stage], workspace: Path, *, keep_bundles: int | None = None) -> list[Leftover]:
    """What `collect` would remove.

    Kept are the outputs of the last complete run, those a run of this configuration would use again, and the whole of
    `bundles/` unless told otherwise: a bundle needs nothing outside its folder, and the tracker has its own copies. Not
    kept is what killed trainings could go on from.

    Args:
        stages: of the configuration.
        workspace: where the artifacts are.
        keep_bundles: leave the newest so many versions, and every version that is or can again become champion or
            challenger; `None` leaves all.

    Raises:
        ArtifactError: the record of the last run or the registry is damaged, so that nobody knows what is needed.
    """
    return _unneeded(plan(stages, workspace), workspace, keep_bundles)


def _unneeded(statuses: Sequence[StageStatus], workspace: Path, keep_bundles: int | None) -> list[Leftover]:
    store = Store(workspace)
    needed = {store.folder(stage, key) for stage, key in store.latest_keys().items()}
    needed |= {status.artifact.folder for status in statuses if status.artifact is not None}
    old = [Leftover(folder, folder.parent.name, _size(folder)) for folder in store.folders() if folder not in needed]
    old += [Leftover(path, f"{path.parent.name}, unfinished", _size(path)) for path in store.unfinished_folders()]
    return old + ([] if keep_bundles is None else _old_bundles(workspace / "bundles", keep_bundles))


def collect(
    stages: Sequence[Stage], workspace: Path, *, keep_bundles: int | None = None, wait: bool = True
) -> list[Leftover]:
    """Removes what nothing needs, and returns what that was; arguments as in `find_leftovers`.

    A folder is renamed before it is emptied: killed halfway, it is gone for every reader, and the next run or
    collection removes the rest.

    Raises:
        WorkspaceError: another run holds the workspace and `wait` is false, or the workspace cannot be written.
        ArtifactError: as in `find_leftovers`; nothing was removed.
    """
    store = Store(workspace)
    if not workspace.is_dir():
        return []
    with store.lock(wait=wait), in_plain_words(workspace):
        store.clean()
        leftovers = find_leftovers(stages, workspace, keep_bundles=keep_bundles)
        for leftover in leftovers:
            store.remove(leftover.folder)
    return leftovers


def holdings(statuses: Sequence[StageStatus], workspace: Path) -> list[Holding]:
    """Who uses the disk: artifacts in use and left over, bundles, the tracker's files, the rest.

    Args:
        statuses: of all stages of the configuration, from `plan`.
        workspace: where the artifacts are.
    """
    leftover = sum(left.size for left in _unneeded(statuses, workspace, None))
    parts = {path.name: _size(path) for path in workspace.iterdir()} if workspace.is_dir() else {}
    tracked = [name for name in parts if name.startswith(("mlflow", "mlruns", "tracking"))]
    known = {
        "stages in use": parts.pop("artifacts", 0) + parts.pop("unfinished", 0) - leftover,
        "left over (recsys gc removes it)": leftover,
        "bundles": parts.pop("bundles", 0),
        "tracking": sum(parts.pop(name) for name in tracked),
        "other": sum(parts.values()),
    }
    return [Holding(what, size) for what, size in known.items()]


def _old_bundles(bundles: Path, keep: int) -> list[Leftover]:
    found = versions(bundles)
    needed = {*found[len(found) - min(keep, len(found)) :], *promoted(read_registry(bundles))}
    paths = ((version, bundles / str(version)) for version in found if version not in needed)
    return [Leftover(path, f"bundle {version}", _size(path)) for version, path in paths]


def _size(path: Path) -> int:
    """Bytes of a file or of all files in a folder; links count nothing."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size if path.is_file() else 0
    return sum((Path(root) / name).lstat().st_size for root, _, names in os.walk(path) for name in names)
