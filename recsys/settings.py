"""Configuration machinery: strict models, YAML with line numbers, overrides, did-you-mean, content hash.

Values come from the file, then from the environment (`RECSYS__DATA__POSITIVE__AT_LEAST=4`), then from `--set a.b=c`;
the last one wins, and messages name the one that said it.
"""

import ast
import hashlib
import inspect
import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

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
        serialize_by_alias=True,  # a key such as `from` is no name in Python
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, with the docstrings of the fields.

        `use_attribute_docstrings` would read the sources of all models whenever they are imported, which takes every
        command longer than the rest of the import.
        """
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in _field_docstrings(cls).items():
            # Class variables have docstrings, too, but are no fields.
            key = (name in cls.model_fields and cls.model_fields[name].alias) or name
            if key in properties:
                properties[key].setdefault("description", text)
        return schema

    def with_defaults(self, values: Mapping[str, object]) -> Self:
        """The same with other defaults: what was not set takes these values, and still counts as not set."""
        changed = {name: value for name, value in values.items() if name not in self.model_fields_set}
        if all(getattr(self, name) == value for name, value in changed.items()):
            return self
        copy = self.model_copy(update=changed)
        copy.model_fields_set.difference_update(changed)
        return copy


def _field_docstrings(model: type) -> dict[str, str]:
    """What stands under the fields of a model and of those it inherits from."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, Settings) and cls is not Settings:
            body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
            assert isinstance(body, ast.ClassDef)
            for field, after in pairwise(body.body):
                match field, after:
                    case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                        found[name] = inspect.cleandoc(text)
                    case ast.AnnAssign(target=ast.Name(name)), _:
                        found.pop(name, None)
    return found


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
        what = f"{problem.what}{self._default_note(problem)}"
        return f"{place}: {what}" if said else f"{place}: {path}: {what}"

    def _default_note(self, problem: Problem) -> str:
        """Says of what was found that nobody wrote it; nothing where somebody did, or nothing was found."""
        unset = _first_unset(self.value, problem.at)
        if not unset or not problem.what.startswith("found "):
            return ""
        return f" ({dotted(unset)} is not set: this is about its default)"


def _first_unset(data: object, path: KeyPath) -> KeyPath:
    """The beginning of a path up to the first key that is not there; empty where all are."""
    node: Any = data
    for depth, key in enumerate(path, start=1):
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            # A word or a number stands for what is written out below it.
            return path[:depth] if isinstance(node, dict | None) else ()
    return ()


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
