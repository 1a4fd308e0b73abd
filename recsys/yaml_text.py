"""YAML in and out: plain data only, with the line of every value.

PyYAML's own loader was not enough: it keeps the last of two equal keys without a word, reads `1e-3` as text, `no` as
false and `1:30` as ninety, and tells no lines. Here scalars follow the core schema of YAML 1.2, mappings refuse a key
given twice, tags other than those of plain data are refused, and what aliases expand to is bounded.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from recsys.errors import ConfigError

__all__ = ["MAX_BYTES", "Document", "KeyPath", "parse", "render"]

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys of mappings and positions in lists."""

MAX_BYTES = 2**20
_MAX_VALUES = 100_000
_CORE = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    "float": (
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+0123456789."),
    ),
    "merge": (re.compile(r"^<<$"), ["<"]),
}


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data and the line, from 1, on which each value (for a mapping's value: its key) stands."""

    value: Any
    lines: dict[KeyPath, int]


def parse(text: str, where: str) -> Document:
    """Reads one YAML document.

    Args:
        text: the document.
        where: how messages call it: a file name, a flag.

    Raises:
        ConfigError: not YAML, not plain data, a key twice, or too large.
    """
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(f"{where}: larger than {MAX_BYTES // 2**20} MB; expected a configuration")
    try:
        node = yaml.compose(text, Loader=_Loader)
        reader = _Reader(where)
        value = None if node is None else reader.read(node, ())
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply; expected a configuration") from None
    if reader.problems:
        raise ConfigError("\n".join(reader.problems))
    return Document(value, reader.lines)


def render(value: object) -> str:
    """Plain data as YAML that `parse` reads back the same, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Loader(yaml.SafeLoader):
    """Composes nodes; never constructs objects."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own protocol


class _Dumper(yaml.SafeDumper):
    """Quotes text that this module or a YAML 1.1 reader would take for something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> ScalarNode:
    # PyYAML writes these three line breaks as they are, and reads them back as spaces.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar(f"{_CORE}str", text, style=style)


_Dumper.add_representer(str, _represent_text)
for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"{_CORE}{_name}", _pattern, _first)
    _Dumper.add_implicit_resolver(f"{_CORE}{_name}", _pattern, _first)


@dataclass(slots=True)
class _Reader:
    where: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)
    _count: int = 0

    def read(self, node: Node, path: KeyPath) -> Any:  # noqa: ANN401  plain data
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._count += 1
        if self._count > _MAX_VALUES:
            raise yaml.YAMLError(f"more than {_MAX_VALUES} values once aliases are expanded")
        if id(node) in self._open:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1} refers to itself")
        self._open.append(id(node))
        try:
            return self._value(node, path)
        finally:
            self._open.pop()

    def _value(self, node: Node, path: KeyPath) -> Any:  # noqa: ANN401
        kind = node.tag.removeprefix(_CORE)
        if isinstance(node, ScalarNode) and kind in {"null", "bool", "int", "float", "str"}:
            return self._scalar(kind, node)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.read(item, (*path, position)) for position, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, path)
        tag = node.tag.replace(_CORE, "!!")
        self._complain(node, f"the tag {tag} is not allowed; expected plain data")
        return None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == f"{_CORE}merge":
                merged = {**self._merge(value, path), **merged}
            elif not isinstance(key, ScalarNode):
                self._complain(key, "a key is a list or a mapping; expected text")
            elif key.value in own:
                first = self.lines[(*path, key.value)]
                dotted = ".".join(map(str, (*path, key.value)))
                self._complain(key, f"{dotted}: the key is given twice, first in line {first}")
            else:
                self._forget((*path, key.value))
                self.lines[(*path, key.value)] = key.start_mark.line + 1
                own[key.value] = self.read(value, (*path, key.value))
        return {**merged, **own}

    def _merge(self, node: Node, path: KeyPath) -> dict[str, Any]:
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for item in reversed(nodes):
            value = self.read(item, path)
            if not isinstance(value, dict):
                self._complain(node, "`<<` merges mappings; expected an alias of one")
                return {}
            merged.update(value)
        return merged

    def _forget(self, path: KeyPath) -> None:
        """Lines of merged values under a key that is now given in place."""
        if path in self.lines:
            for known in [p for p in self.lines if p[: len(path)] == path]:
                del self.lines[known]

    def _scalar(self, kind: str, node: ScalarNode) -> Any:  # noqa: ANN401
        text = node.value
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
                case "float":
                    return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()))
                case _:
                    return text
        except ValueError as error:
            self._complain(node, f"not a number: {error}")
            return None

    def _complain(self, node: Node, what: str) -> None:
        self.problems.append(f"{self.where}:{node.start_mark.line + 1}: {what}")
