"""Configuration machinery: strict models, YAML with line numbers, overrides, did-you-mean, content hash.

Values come from the file, then from the environment (`RECSYS__DATA__POSITIVE__AT_LEAST=4`), then from `--set a.b=c`;
the last one wins, and messages name the one that said it.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.errors import ConfigError, ProtocolError
from recsys.problems import Problem, dotted, explain
from recsys.yaml_text import MAX_BYTES, KeyPath, parse, render

__all__ = ["ENVIRONMENT_PREFIX", "Settings", "content_hash", "dump_settings", "jsonable", "load_settings"]

ENVIRONMENT_PREFIX = "RECSYS__"


class Settings(BaseModel):
    """A frozen configuration node that refuses keys it does not know."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,  # a key such as `from` is no name in Python
    )


M = TypeVar("M", bound=Settings)


def load_settings(
    model: type[M], path: Path | str, *, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> M:
    """Reads a YAML file into a model.

    Args:
        model: the root model.
        path: the file.
        overrides: `a.b=c`; values are YAML, mappings on the way are made when missing, list entries go by number.
        environ: variables; `None` takes the process's own. Those that start with `RECSYS__` count, `__` between keys.

    Raises:
        ConfigError: anything is wrong. Every problem is a line of its own, `file:line: dotted.path: what; hint`;
            values from elsewhere are placed by `--set` or the variable's name.
        ProtocolError: all that is wrong is that the configuration breaks its own evaluation protocol.
    """
    draft = _read(Path(path))
    variables = os.environ if environ is None else environ
    for name in sorted(variables):
        if name.startswith(ENVIRONMENT_PREFIX):
            keys = draft.spelled(name.removeprefix(ENVIRONMENT_PREFIX).split("__"))
            draft.set(keys, parse(variables[name], name).value, name)
    for override in overrides:
        dotted_path, equals, text = override.partition("=")
        if not equals or not all(dotted_path.split(".")):
            raise ConfigError(f"--set {override}: expected PATH=VALUE, such as --set seed=7")
        where = f"--set {dotted_path}"
        draft.set(tuple(dotted_path.split(".")), parse(text, where).value, where)
    try:
        return model.model_validate(draft.value)
    except ValidationError as error:
        raise _refusal(draft, explain(model, draft.value, error)) from None


def dump_settings(model: BaseModel) -> str:
    """The whole of a configuration, defaults included, as YAML that `load_settings` reads back equal."""
    return render(model.model_dump(mode="json"))


def jsonable(value: object) -> Any:  # noqa: ANN401  JSON is any of six types, nested
    """The value as JSON would give it back: models become mappings, tuples lists, keys text.

    Raises:
        TypeError: something in it has no JSON form.
    """
    return json.loads(_canonical(value))


def content_hash(value: object) -> str:
    """The sha256 of a value's canonical JSON, as hex: independent of the order of keys.

    Raises:
        TypeError: something in it has no JSON form.

    Example:
        >>> content_hash({"a": 1, "b": (2, 3)}) == content_hash({"b": [2, 3], "a": 1})
        True
    """
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


@dataclass(slots=True)
class _Draft:
    """Plain data on its way to a model, and where each value came from."""

    name: str
    value: dict[str, Any]
    places: dict[KeyPath, str]

    def spelled(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Keys of a variable in the spelling of the file: variables are upper case by custom, keys need not be."""
        value: Any = self.value
        spelled = []
        for key in keys:
            known = value if isinstance(value, dict) else {}
            spelled.append(next((k for k in known if k.lower() == key.lower()), key.lower()))
            value = known.get(spelled[-1])
        return tuple(spelled)

    def set(self, keys: Sequence[str], value: object, where: str) -> None:
        """Puts a value in place and remembers who said so.

        Raises:
            ConfigError: a key on the way holds neither mapping nor list.
        """
        node: Any = self.value
        path: KeyPath = ()
        for key in keys[:-1]:
            step = _step(node, key, where, path)
            if isinstance(step, str) and node.get(step) is None:
                node[step] = {}
                self._place((*path, step), where)
            node, path = node[step], (*path, step)
        step = _step(node, keys[-1], where, path)
        node[step] = value
        self._place((*path, step), where)

    def _place(self, path: KeyPath, where: str) -> None:
        self.places = {known: place for known, place in self.places.items() if known[: len(path)] != path}
        self.places[path] = where

    def line(self, problem: Problem) -> str:
        """The problem with its place in front."""
        depth = next(n for n in range(len(problem.at), -1, -1) if problem.at[:n] in self.places)
        place, path = self.places[problem.at[:depth]], dotted(problem.at)
        said = not path or place == f"--set {path}"
        return f"{place}: {problem.what}" if said else f"{place}: {path}: {problem.what}"


def _step(node: object, key: str, where: str, path: KeyPath) -> str | int:
    if isinstance(node, dict):
        return key
    if isinstance(node, list):
        if key.isdecimal() and int(key) < len(node):
            return int(key)
        raise ConfigError(f"{where}: {dotted(path)} has {len(node)} entries, expected a number below that, not {key!r}")
    raise ConfigError(f"{where}: {dotted(path)} is {node!r}, not a mapping; set {dotted(path)} itself")


def _read(path: Path) -> _Draft:
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ConfigError(f"{path}: {what}; expected a YAML configuration") from None
    if size > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES // 2**20} MB; expected a configuration")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    document = parse(text, str(path))
    if not isinstance(document.value, dict):
        what = "empty" if document.value is None else "not a mapping"
        raise ConfigError(f"{path}: {what}; expected keys such as name, data and routes")
    places: dict[KeyPath, str] = {at: f"{path}:{line}" for at, line in document.lines.items()}
    return _Draft(str(path), document.value, places)


def _refusal(draft: _Draft, problems: Sequence[Problem]) -> ConfigError:
    lines = dict.fromkeys(draft.line(problem) for problem in problems)
    kind = ProtocolError if all(problem.protocol for problem in problems) else ConfigError
    return kind("\n".join(sorted(lines, key=_line_number)))


def _line_number(text: str) -> int:
    """Problems in the order of the file; what was set elsewhere comes first, as it is the nearest to hand."""
    _, _, rest = text.partition(":")
    number = rest.partition(":")[0]
    return int(number) if number.isdecimal() else 0


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")
