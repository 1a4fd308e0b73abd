"""Stage outputs on disk: content-addressed, written beside, synced, renamed; a folder with a manifest is whole.

<workspace>/artifacts/<stage>/<first 16 of the key>/   outputs and manifest.json, written last
<workspace>/latest.json                                the artifacts of the last complete run
<workspace>/.lock                                      held while a run writes
"""

import errno
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.fingerprint import hash_file
from recsys.errors import ArtifactError, WorkspaceError
from recsys.settings import content_hash

__all__ = ["FORMAT", "MANIFEST", "Artifact", "Store", "in_plain_words"]

FORMAT = 1
MANIFEST = "manifest.json"
_TEMPORARY = ".tmp-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHORT = re.compile(r"\d+ requested and \d+ written")
"""All that numpy says of a file it could not finish."""
_SHORT_WRITE = "a file could not be written to its end"
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class Artifact:
    """The output of a stage.

    Attributes:
        stage: name of the stage.
        key: sha256 of all it depends on.
        folder: where the files are.
        content: sha256 over the files' names and bytes; what the stages after it depend on.
        identity: what the key is the hash of: config, inputs, sources, files, seed.
        files: sha256 and size of each file, by path inside the folder.
        metrics: figures of the whole stage.
        curves: `(step, value)` points logged while it ran, by name.
        seconds: how long it ran.
        peak_memory_mb: the largest resident memory while it ran, MB.
        created: UTC, ISO 8601; later than any of the same stage before it, whatever the clock said.
        cached: whether it was there already when asked for.
    """

    stage: str
    key: str
    folder: Path
    content: str
    identity: Mapping[str, Any]
    files: Mapping[str, tuple[str, int]]
    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[tuple[int, float], ...]]
    seconds: float
    peak_memory_mb: float
    created: str
    cached: bool = True


class Store:
    """The artifacts of one workspace. Only `lock` and what is called under it write."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.artifacts = workspace / "artifacts"
        self._unfinished = workspace / "unfinished"

    def folder(self, stage: str, key: str) -> Path:
        """Where the artifact with this key belongs."""
        return self.artifacts / stage / key[:16]

    def find(self, stage: str, key: str, *, full: bool = False) -> Artifact | None:
        """The artifact with this key, `None` when it was never made.

        Args:
            stage: name of the stage.
            key: the whole key.
            full: hash every file; otherwise sizes alone are compared.

        Raises:
            ArtifactError: it is there, but damaged.
        """
        folder = self.folder(stage, key)
        if not folder.is_dir():
            return None
        artifact = read_artifact(folder)
        if artifact.key != key:
            raise ArtifactError(f"{folder}: found the key {artifact.key}, expected {key}")
        for name, (digest, size) in artifact.files.items():
            _check_file(folder / name, digest if full else None, size)
        return artifact

    def newest(self, stage: str) -> Artifact | None:
        """The readable artifact of a stage that was made last."""
        found = [artifact for artifact in self.of_stage(stage) if artifact is not None]
        return max(found, key=lambda artifact: artifact.created, default=None)

    def moment(self, stage: str) -> str:
        """Now, or just after the newest artifact of a stage where the clock was set back since."""
        now, last = datetime.now(UTC), self.newest(stage)
        if last is not None:
            now = max(now, datetime.fromisoformat(last.created) + timedelta(microseconds=1))
        return now.isoformat(timespec="microseconds")

    def of_stage(self, stage: str) -> Iterator[Artifact]:
        """Every readable artifact of a stage."""
        folder = self.artifacts / stage
        if not folder.is_dir():
            return
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(_TEMPORARY):
                try:
                    yield read_artifact(path)
                except ArtifactError:
                    continue

    def folders(self) -> list[Path]:
        """Every artifact's folder, readable or not."""
        found = self.artifacts.glob("*/*")
        return sorted(p for p in found if p.is_dir() and not p.is_symlink() and not p.name.startswith(_TEMPORARY))

    def remove(self, folder: Path) -> None:
        """Removes a folder of the workspace; from the first moment on, no reader finds half of it."""
        aside = self.artifacts / "removed" / f"{_TEMPORARY}{uuid.uuid4().hex}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(aside)
        shutil.rmtree(aside)
        for parent in (folder.parent, aside.parent):
            with suppress(OSError):  # not empty
                parent.rmdir()

    @contextmanager
    def unfinished(self, stage: str, key: str) -> Iterator[Path]:
        """A folder, not made yet, that a run of this key finds again after it was killed; removed when it succeeds."""
        folder = self._unfinished / stage / key[:16]
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
        for parent in (folder.parent, self._unfinished):
            with suppress(OSError):  # never made, or not empty
                parent.rmdir()

    def unfinished_folders(self) -> list[Path]:
        """Every folder that a run left behind to go on from."""
        return sorted(path for path in self._unfinished.glob("*/*") if path.is_dir() and not path.is_symlink())

    @contextmanager
    def temporary(self, stage: str) -> Iterator[Path]:
        """A fresh folder on the same disk as the artifacts; whatever is left of it is removed at the end."""
        folder = self.artifacts / stage / f"{_TEMPORARY}{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, folder: Path, draft: Artifact) -> Artifact:
        """Makes a temporary folder the artifact of `draft`, whole or not at all, whatever happens meanwhile.

        Args:
            folder: what the stage wrote; gone afterwards.
            draft: everything but files and content.
        """
        files = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            files[path.relative_to(folder).as_posix()] = (hash_file(path), path.stat().st_size)
            _sync(path)
        content = content_hash({name: digest for name, (digest, _) in files.items()})
        target = self.folder(draft.stage, draft.key)
        artifact = replace(draft, folder=target, files=files, content=content, cached=False)
        _write_synced(folder / MANIFEST, _manifest(artifact))
        for path in (*(p for p in folder.rglob("*") if p.is_dir()), folder):
            _sync(path)
        self._put(folder, target)
        return artifact

    def _put(self, folder: Path, target: Path) -> None:
        if target.exists():
            # A damaged or forced-out artifact; between the two renames there is none, which is safe.
            old = target.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
            target.rename(old)
            folder.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            folder.rename(target)
        _sync(target.parent)

    def clean(self) -> int:
        """Removes what runs that were killed left behind, and returns how many folders that were."""
        left = list(self.artifacts.glob(f"*/{_TEMPORARY}*"))
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        return len(left)

    def record_latest(self, artifacts: Mapping[str, Artifact]) -> None:
        """Remembers the artifacts of a complete run."""
        keys = {name: artifact.key for name, artifact in artifacts.items()}
        partial = self.workspace / ".latest.json.partial"
        _write_synced(partial, {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "stages": keys})
        partial.replace(self.workspace / "latest.json")
        _sync(self.workspace)

    def latest(self) -> dict[str, Artifact]:
        """The artifacts of the last complete run, by stage; empty when there was none.

        Raises:
            ArtifactError: one of them is missing or damaged.
        """
        found = {}
        for stage, key in self.latest_keys().items():
            artifact = self.find(stage, key)
            if artifact is None:
                raise ArtifactError(f"{self.folder(stage, key)}: missing; run the pipeline again")
            found[stage] = artifact
        return found

    def latest_keys(self) -> dict[str, str]:
        """The keys of the last complete run's artifacts, by stage; empty when there was none.

        Raises:
            ArtifactError: the record is damaged.
        """
        path = self.workspace / "latest.json"
        if not path.exists():
            return {}
        try:
            stages = _read_object(path).get("stages")
        except ArtifactError:
            stages = None
        if not isinstance(stages, dict) or not all(isinstance(key, str) for key in stages.values()):
            raise ArtifactError(f"{path}: damaged; run the pipeline again")
        return stages

    @contextmanager
    def lock(self, *, wait: bool = True, say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Holds the workspace, so that no other run writes to it.

        Args:
            wait: wait for another run to end; otherwise fail.
            say: told who is waited for.

        Raises:
            WorkspaceError: another run holds it and `wait` is false, or the workspace cannot be written.
        """
        with in_plain_words(self.workspace):
            self._make()
            lock = FileLock(self.workspace / ".lock")
            self._acquire(lock, wait, say)
        holder = self.workspace / ".lock-holder.json"
        try:
            with in_plain_words(self.workspace):
                holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}))
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _make(self) -> None:
        try:
            self.artifacts.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError) as error:
            # A link to a disk that is not mounted, or a place where no folder can be.
            raise WorkspaceError(
                f"{self.workspace}: cannot be made ({error.strerror}: {error.filename}); "
                "check that what it points to is there, or set `workspace` to another folder"
            ) from error

    def _acquire(self, lock: FileLock, wait: bool, say: Callable[[str], None] | None) -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise WorkspaceError(f"{self.workspace}: {self._holder()}; wait for it to end, or stop it") from None
            if say is not None:
                say(f"{self.workspace}: {self._holder()}; waiting for it to end")
            lock.acquire()

    def _holder(self) -> str:
        try:
            found = json.loads((self.workspace / ".lock-holder.json").read_bytes())
            return f"in use by process {found['pid']} on {found['host']} since {found['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "in use by another run"


def read_artifact(folder: Path) -> Artifact:
    """The artifact in a folder, by its manifest alone.

    Raises:
        ArtifactError: the manifest is missing, or not as it was written.
    """
    found = _read_object(folder / MANIFEST)
    try:
        checksum = found.pop("sha256")
        if checksum != content_hash(found) or found["format"] != FORMAT:
            raise ArtifactError(f"{folder / MANIFEST}: does not match its checksum; the stage has to run again")
        return Artifact(
            stage=found["stage"],
            key=found["key"],
            folder=folder,
            content=found["content"],
            identity=found["identity"],
            files={name: (entry["sha256"], entry["size"]) for name, entry in found["files"].items()},
            metrics=found["metrics"],
            curves={name: tuple((step, value) for step, value in points) for name, points in found["curves"].items()},
            seconds=found["seconds"],
            peak_memory_mb=found["peak_memory_mb"],
            created=found["created"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{folder / MANIFEST}: lacks {error}; the stage has to run again") from None


def _manifest(artifact: Artifact) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "stage": artifact.stage,
        "key": artifact.key,
        "content": artifact.content,
        "identity": artifact.identity,
        "files": {name: {"sha256": digest, "size": size} for name, (digest, size) in artifact.files.items()},
        "metrics": artifact.metrics,
        "curves": artifact.curves,
        "seconds": artifact.seconds,
        "peak_memory_mb": artifact.peak_memory_mb,
        "created": artifact.created,
    }
    return {**manifest, "sha256": content_hash(manifest)}


def _check_file(path: Path, digest: str | None, size: int) -> None:
    found = path.stat().st_size if path.is_file() else None
    if found is None:
        raise ArtifactError(f"{path}: missing")
    if found != size:
        raise ArtifactError(f"{path}: found {found} bytes, expected {size}")
    if digest is not None and hash_file(path) != digest:
        raise ArtifactError(f"{path}: its bytes are not those that were written")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); the stage has to run again") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ArtifactError(f"{path}: not a JSON object; the stage has to run again")
    return found


def _write_synced(path: Path, value: object) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def in_plain_words(workspace: Path) -> Iterator[None]:
    """Turns a full disk and a workspace that cannot be written into errors that say so.

    Raises:
        WorkspaceError: instead of such an `OSError`; others pass.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = _what_is_full(error)
        if full is not None:
            raise WorkspaceError(
                f"{workspace}: no space left ({full}); free some and run the same command again, "
                "what was finished is kept"
            ) from error
        if isinstance(error, OSError) and error.errno in _REFUSED and _inside(error.filename, workspace):
            raise WorkspaceError(
                f"{workspace}: cannot be written ({error.strerror}: {error.filename}); "
                "check its owner and mode, or set `workspace` to another folder"
            ) from error
        raise


def _what_is_full(error: OSError | RuntimeError) -> str | None:
    """In the words of the system, what ran out; `None` when it was something else."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return os.strerror(error.errno)
    text = str(error)
    # FAISS, and copies of whole folders, keep the number of the error to themselves.
    named = next((os.strerror(number) for number in sorted(_FULL) if os.strerror(number) in text), None)
    return _SHORT_WRITE if named is None and _SHORT.search(text) else named


def _inside(name: object, workspace: Path) -> bool:
    if not isinstance(name, str | os.PathLike):
        return False
    return Path(name).absolute().is_relative_to(workspace.absolute())
