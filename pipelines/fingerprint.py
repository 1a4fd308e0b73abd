"""What an output depends on, as hashes, and in words what changed since.

Code counts by the bytes of every first-party module that is imported, directly or not, wherever the import stands in
the file. Modules named in strings (registries) are not followed: a stage lists the one it uses.
"""

import ast
import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from recsys.settings import jsonable

__all__ = ["MISSING", "FileHashes", "differences", "hash_file", "sources"]

MISSING = "missing"
"""Stands for the hash of a file that is not there: the stage itself says best what is wrong with that."""
_FIRST_PARTY = ("recsys", "pipelines")
_SHOWN = 3
_RACY_NS = 2_000_000_000
"""A file changed this recently may change again without new times; its hash is not remembered."""


def hash_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sources(modules: Iterable[str]) -> dict[str, str]:
    """The sha256 of every source file behind these modules, by path from the folder of its package.

    Follows imports into first-party packages: `recsys`, `pipelines` and the top packages of `modules`. Other files
    beside a module (templates, styles) count with it.

    Raises:
        ValueError: an entry module has no source file.
    """
    entries = tuple(modules)
    roots = _roots({*_FIRST_PARTY, *(name.partition(".")[0] for name in entries)})
    for name in entries:
        if _locate(name, roots) is None:
            raise ValueError(f"module {name}: no source file; expected a module of {', '.join(sorted(roots))}")
    files: set[tuple[Path, Path]] = set()
    for name in _reachable(entries, roots):
        path = _locate(name, roots)
        if path is not None:
            base = roots[name.partition(".")[0]].parent
            files.update((base, file) for file in (path, *_companions(path.parent)))
    return {file.relative_to(base).as_posix(): hash_file(file) for base, file in sorted(files)}


def _roots(packages: Iterable[str]) -> dict[str, Path]:
    roots = {}
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            roots[name] = Path(next(iter(spec.submodule_search_locations)))
    return roots


def _locate(name: str, roots: Mapping[str, Path]) -> Path | None:
    top, *rest = name.split(".")
    if top not in roots:
        return None
    base = roots[top].joinpath(*rest)
    candidates = (base / "__init__.py", base.with_name(base.name + ".py"))
    return next((path for path in candidates if path.is_file()), None)


def _companions(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix not in {".py", ".pyc", ".pyi"} and not path.name.startswith("."):
            yield path


def _reachable(entries: Sequence[str], roots: Mapping[str, Path]) -> set[str]:
    """Every first-party module that importing the entries may import, and the packages they lie in."""
    seen: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        path = _locate(name, roots)
        if name in seen or path is None:
            continue
        seen.add(name)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting.append(name.rpartition(".")[0])
        waiting.extend(_imports(path, package, path.stat().st_mtime_ns))
    return seen


@lru_cache(maxsize=4096)
def _imports(path: Path, package: str, _changed: int) -> frozenset[str]:
    """Names that may be modules in the import statements of a file; the time of change is there for the cache alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(found)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


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
        if not self._changed:
            return
        partial = self._memory.with_name(f"{self._memory.name}.{os.getpid()}.partial")
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._known, indent=1))
            partial.replace(self._memory)
        except OSError:
            return
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
