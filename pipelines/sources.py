"""The source files behind a stage, as hashes.

Code counts by the bytes of every first-party module that is imported, directly or not, wherever the import stands in
the file. Modules named in strings (registries) are not followed: a stage lists the one it uses. No module is imported:
imports are read from the syntax tree.
"""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.memory import write_memory

__all__ = ["Sources"]

_FIRST_PARTY = ("recsys", "pipelines")
_REMEMBERED = 4096
"""Contents whose imports are remembered; of more, those met last are kept."""


@dataclass(frozen=True, slots=True)
class _Module:
    """A first-party module.

    Attributes:
        imports: first-party modules that importing it may import, and the package it lies in.
        files: its source and what lies beside it, by path from the folder of its package; their sha256.
    """

    imports: tuple[str, ...]
    files: Mapping[str, str]


class Sources:
    """The sources behind modules, each file read once: a snapshot.

    Parsing takes most of a second for all of this project, so the imports of a file are remembered by its content.

    Args:
        memory: a file that remembers imports from one process to the next; `None`: nothing is remembered.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known = {} if memory is None else _remembered(memory)
        self._met: dict[str, tuple[str, ...]] = {}
        self._modules: dict[str, _Module | None] = {}
        self._digests: dict[Path, str] = {}
        self._folders: dict[Path, tuple[Path, ...]] = {}
        self._roots: dict[str, Path | None] = {}

    def of(self, modules: Iterable[str]) -> dict[str, str]:
        """The sha256 of every source file behind these modules, by path from the folder of its package.

        Follows imports into first-party packages: `recsys`, `pipelines` and the top packages of `modules`. Other files
        beside a module (templates, styles) count with it.

        Raises:
            ValueError: an entry module has no source file.
        """
        entries = tuple(modules)
        tops = {*_FIRST_PARTY, *map(_top, entries)}
        for name in entries:
            if self._module(name) is None:
                raise ValueError(f"module {name}: no source file; expected a module of {', '.join(sorted(tops))}")
        found: dict[str, str] = {}
        seen: set[str] = set()
        waiting = list(entries)
        while waiting:
            name = waiting.pop()
            if name in seen or _top(name) not in tops:
                continue
            seen.add(name)
            module = self._module(name)
            if module is not None:
                found |= module.files
                waiting.extend(module.imports)
        return dict(sorted(found.items()))

    def save(self) -> None:
        """Remembers the imports found. A folder that cannot be written costs time later, nothing else."""
        if self._memory is None or self._met.keys() <= self._known.keys():
            return
        kept = list({**self._known, **self._met}.items())[-_REMEMBERED:]
        if write_memory(self._memory, dict(kept)):
            self._known = dict(kept)

    def _module(self, name: str) -> _Module | None:
        """A module with a source file, in whatever package; `None` for all other names."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> _Module | None:
        root = self._root(_top(name))
        path = None if root is None else _module_file(root.joinpath(*name.split(".")[1:]))
        if root is None or path is None:
            return None
        content = path.read_bytes()
        self._digests[path] = hashlib.sha256(content).hexdigest()
        above = name.rpartition(".")[0]
        imports = self._imports(content, path, name if path.name == "__init__.py" else above)
        files = (path, *self._beside(path.parent))
        return _Module(
            (*imports, *([above] if above else [])),
            {file.relative_to(root.parent).as_posix(): self._digest(file) for file in files},
        )

    def _root(self, top: str) -> Path | None:
        if top not in self._roots:
            self._roots[top] = _package_folder(top)
        return self._roots[top]

    def _imports(self, content: bytes, path: Path, package: str) -> tuple[str, ...]:
        key = f"{package} {self._digests[path]}"
        found = self._known.get(key)
        self._met[key] = _imports(content, path, package) if found is None else found
        return self._met[key]

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._digests[path]

    def _beside(self, folder: Path) -> tuple[Path, ...]:
        if folder not in self._folders:
            self._folders[folder] = tuple(_other_files(folder))
        return self._folders[folder]


def _top(name: str) -> str:
    return name.partition(".")[0]


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _module_file(base: Path) -> Path | None:
    candidates = (base / "__init__.py", base.with_name(base.name + ".py"))
    return next((path for path in candidates if path.is_file()), None)


def _other_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix not in {".py", ".pyc", ".pyi"} and not path.name.startswith(".") and path.is_file():
            yield path


def _imports(content: bytes, path: Path, package: str) -> tuple[str, ...]:
    """Names that may be modules in the import statements of a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(content, filename=str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return tuple(sorted(found))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _remembered(memory: Path) -> dict[str, tuple[str, ...]]:
    """By package and content; nothing where the file is not there or damaged."""
    try:
        found = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: tuple(names) for key, names in found.items()} if _is_memory(found) else {}


def _is_memory(found: object) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in found.values()
    )
