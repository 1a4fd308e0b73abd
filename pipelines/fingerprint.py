"""What an output depends on, as hashes, and in words what changed since; for code see `pipelines.sources`."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.memory import write_memory
from recsys.settings import jsonable

__all__ = ["MISSING", "FileHashes", "differences", "hash_file"]

MISSING = "missing"
"""Stands for the hash of a file that is not there: the stage itself says best what is wrong with that."""
_SHOWN = 3
_RACY_NS = 2_000_000_000
"""A file changed this recently may change again without new times; its hash is not remembered."""


def hash_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileHashes:
    """Content hashes of outside files, remembered by size, times of modification and status change, and inode.

    Programs can set the modification time of a file (`cp -p`, `rsync -t`, `tar`); the time of status change is set by
    the kernel, and another file at the same path has another inode. A file system that does not keep these numbers
    between mounts costs another hash, nothing else. One without a time of status change (FAT, some network mounts) does
    not tell a file that is changed in place and given its old modification time.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, list[Any]] = _read_json(memory)
        self._changed = False

    def of(self, paths: Iterable[Path]) -> dict[str, str]:
        """The hash of each file, by its path as given; a folder counts as all the files in it."""
        return {str(file): self._hash(file) for path in paths for file in _files(path)}

    def save(self) -> None:
        """Remembers what was hashed. A folder that cannot be written costs time later, nothing else."""
        if self._changed and write_memory(self._memory, self._known):
            self._changed = False

    def _hash(self, path: Path) -> str:
        if not path.is_file():
            return MISSING
        before = path.stat()
        stamp = _stamp(before)
        name = str(path.resolve())
        known = self._known.get(name)
        if isinstance(known, list) and known[:-1] == stamp:
            return str(known[-1])
        digest = hash_file(path)
        # A file that changes while it is read has a hash of neither state.
        if _stamp(path.stat()) == stamp and time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) > _RACY_NS:
            self._known[name] = [*stamp, digest]
            self._changed = True
        return digest


def _stamp(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if file.is_file())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two identities of a stage, a line each; see `pipelines.graph.identify`."""
    lines = [f"config changed: {line}" for line in _config_changes(before["config"], now["config"])]
    for part, word in (("sources", "code"), ("inputs", "input"), ("files", "file")):
        lines += _named(f"{word} changed", _changed_keys(before[part], now[part]))
    if before["seed"] != now["seed"]:
        lines.append(f"seed changed: {before['seed']} → {now['seed']}")
    if before["format"] != now["format"]:
        lines.append("made by another version of recsys")
    return lines


def _config_changes(before: object, now: object) -> list[str]:
    old, new = dict(_leaves(jsonable(before))), dict(_leaves(jsonable(now)))
    # A new kind of something explains the rest.
    changed = sorted(_changed_keys(old, new), key=lambda key: not key.endswith("kind"))
    lines = [f"{key or 'value'} {_shown(old, key)} → {_shown(new, key)}" for key in changed[:_SHOWN]]
    return lines + ([f"and {len(changed) - _SHOWN} more"] if len(changed) > _SHOWN else [])


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _shown(leaves: Mapping[str, object], key: str) -> str:
    if key not in leaves:
        return "(absent)"
    text = json.dumps(leaves[key], ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _changed_keys(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    absent = object()
    return [key for key in sorted({*before, *now}) if before.get(key, absent) != now.get(key, absent)]


def _named(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what}: {', '.join(names[:_SHOWN])}{more}"]
