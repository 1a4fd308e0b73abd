"""What is wrong with a configuration, in plain words: pydantic's errors without pydantic's inner names."""

import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from recsys.yaml_text import KeyPath

__all__ = ["Problem", "Problems", "explain", "unknown"]


class Problem(ValueError):  # noqa: N818  one of many, gathered into an error
    """One thing that is wrong, raised by a model's validator to say where below the model.

    Attributes:
        what: what was found, what was expected and what to do, without the place.
        at: where, from the model that raises it.
        protocol: whether the configuration breaks its own evaluation protocol.
    """

    def __init__(self, what: str, *, at: KeyPath = (), protocol: bool = False) -> None:
        self.what = what
        self.at = at
        self.protocol = protocol
        super().__init__(f"{dotted(at)}: {what}" if at else what)

    def below(self, *path: str | int) -> "Problem":
        """The same problem, seen from a model further up."""
        return Problem(self.what, at=(*path, *self.at), protocol=self.protocol)


class Problems(ValueError):  # noqa: N818
    """Several of them at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: KeyPath) -> str:
    """The path as people write it: `routes.dssm.hidden.0`."""
    return ".".join(map(str, path))


def unknown(found: str, known: Iterable[str], *, noun: str) -> str:
    """What to say of a name that is none of those known.

    Example:
        >>> unknown("itemfc", ["popular", "itemcf"], noun="route")
        "found 'itemfc', expected a route; did you mean itemcf?"
    """
    names = sorted(known)
    close = get_close_matches(found, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(names) or 'none'}"
    return f"found {found!r}, expected a {noun}; {hint}"


def explain(model: type[BaseModel], data: object, error: ValidationError) -> list[Problem]:
    """Every problem pydantic found, at its path in the data.

    Args:
        model: what was validated.
        data: what it was validated from.
        error: what came of it.
    """
    findings = [_finding(dict(item), data) for item in error.errors(include_url=False)]
    by_path: dict[KeyPath, list[_Finding]] = {}
    for finding in findings:
        by_path.setdefault(finding.path, []).append(finding)
    problems: list[Problem] = []
    for path, group in by_path.items():
        inside = any(other[: len(path)] == path and len(other) > len(path) for other in by_path)
        problems += _problems(model, data, path, _telling(group, inside))
    return problems


@dataclass(frozen=True, slots=True)
class _Finding:
    path: KeyPath
    kind: str
    value: object
    context: Mapping[str, Any]
    message: str

    @property
    def is_shape(self) -> bool:
        """Whether it says that the value is no member of this part of a union."""
        return self.kind in _SHAPES


_SHAPES: dict[str, str] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "date_type": "a date",
    "dict_type": "a mapping",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "list_type": "a list",
    "literal_error": "",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "null",
    "string_type": "text",
    "tuple_type": "a list",
}
_KIND = "kind"
"""The key by which members of a union are told apart."""
_SOME = 3
"""Kinds that are named where there may be many."""
_LIMITS = {
    "finite_number": "a finite number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
}


def _finding(error: Mapping[str, Any], data: object) -> _Finding:
    kind, context = str(error["type"]), error.get("ctx", {})
    path = _real(error["loc"], data, kind)
    # A word may stand for the mapping of its kind.
    if kind.startswith("union_tag") and not isinstance(_value_at(data, path), str):
        path = (*path, str(context["discriminator"]).strip("'"))
    return _Finding(path, kind, error["input"], context, str(error["msg"]))


def _real(location: Sequence[str | int], data: object, kind: str) -> KeyPath:
    """The location without the names of union members that pydantic puts between the keys."""
    path: list[str | int] = []
    value: Any = data
    for number, segment in enumerate(location):
        last = number == len(location) - 1
        if _holds(value, segment):
            value = value[segment]
        elif not (last and kind == "missing"):
            continue
        path.append(segment)
    return tuple(path)


def _holds(value: object, segment: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(segment, int) and segment < len(value)
    return isinstance(value, dict) and segment in value


def _telling(group: Sequence[_Finding], inside: bool) -> list[_Finding]:
    """Of several findings at one path, those about the part of the union that the value is meant for."""
    specific = [finding for finding in group if not finding.is_shape]
    return specific if specific or inside else list(group)


def _problems(model: type[BaseModel], data: object, path: KeyPath, group: Sequence[_Finding]) -> Iterator[Problem]:
    shapes = [finding for finding in group if finding.is_shape]
    if shapes:
        word = shapes[0].value
        known = isinstance(word, str) and word in _tags(_annotation_at(model, data, path), _KIND)
        yield Problem(_misshapen(shapes) + (f": {{{_KIND}: {word}}}" if known else ""), at=path)
    for finding in group:
        if finding.kind == "value_error":
            yield from _raised(finding)
        elif not finding.is_shape:
            yield Problem(_describe(model, data, finding), at=path)


def _misshapen(findings: Sequence[_Finding]) -> str:
    choices = [choice for finding in findings for choice in _quoted(finding.context.get("expected", ""))]
    expected = [f"one of {', '.join(choices)}"] if choices else []
    expected += [word for word in dict.fromkeys(_SHAPES[finding.kind] for finding in findings) if word]
    found = findings[0].value
    return f"found {_shown(found)}, expected {_either(expected)}{_meant(found, choices)}"


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _raised(finding: _Finding) -> Iterator[Problem]:
    error = finding.context.get("error")
    for problem in error.problems if isinstance(error, Problems) else [error]:
        if isinstance(problem, Problem):
            yield Problem(problem.what, at=(*finding.path, *problem.at), protocol=problem.protocol)
        else:
            yield Problem(str(problem), at=finding.path)


def _describe(model: type[BaseModel], data: object, finding: _Finding) -> str:
    kind, found = finding.kind, finding.value
    if kind == "missing":
        return "required, but missing"
    if kind == "extra_forbidden":
        key, path = str(finding.path[-1]), finding.path[:-1]
        return _of_other_kind(model, data, path, key) or _unknown_key(key, _known_keys(model, data, path))
    if kind == "union_tag_invalid":
        tags = _quoted(finding.context["expected_tags"])
        tag = _value_at(data, finding.path)
        return f"found {_shown(tag)}, expected one of {', '.join(tags)}{_meant(tag, tags)}"
    if kind == "union_tag_not_found":
        tags = _tags(_annotation_at(model, data, finding.path[:-1]), str(finding.path[-1]))
        return f"required, but missing; expected one of {', '.join(tags)}"
    if kind in _LIMITS:
        return f"found {_shown(found)}, expected {_LIMITS[kind].format(**finding.context)}"
    return f"found {_shown(found)}: {finding.message[:1].lower()}{finding.message[1:]}"


def _unknown_key(key: str, known: Sequence[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"unknown key; did you mean {close[0]}?" if close else f"unknown key; known are {', '.join(known) or 'none'}"


def _of_other_kind(model: type[BaseModel], data: object, path: KeyPath, key: str) -> str:
    """What to say of a key that the chosen member of a union lacks and others have; nothing where none has."""
    models = _models(_annotation_at(model, data, path))
    kinds = [str(kind) for other in models if key in other.model_fields for kind in _literals(other).get(_KIND, ())]
    if not kinds:
        return ""
    own = _value_at(data, (*path, _KIND))
    some = ", ".join(kinds[:_SOME]) + (", …" if len(kinds) > _SOME else "")
    anew = f"{'.'.join(map(str, path))}={{{_KIND}: {own}}}"
    return f"no setting of {own}, but of {some}; a new kind wants a new block: --set '{anew}'"


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _meant(found: object, choices: Sequence[str]) -> str:
    close = get_close_matches(found, choices, n=1) if isinstance(found, str) else []
    return f"; did you mean {close[0]}?" if close else ""


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        what = "mapping" if isinstance(value, dict) else "list"
        return f"a {what}" if value else f"an empty {what}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _value_at(data: object, path: KeyPath) -> object:
    value: Any = data
    for segment in path:
        try:
            value = value[segment]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _known_keys(model: type[BaseModel], data: object, path: KeyPath) -> list[str]:
    found = _model_of(_annotation_at(model, data, path), _value_at(data, path))
    return [] if found is None else list(_fields(found))


def _annotation_at(model: type[BaseModel], data: object, path: KeyPath) -> object:
    annotation: object = model
    for depth, segment in enumerate(path):
        annotation = _inner(annotation, _value_at(data, path[:depth]), segment)
    return annotation


def _inner(annotation: object, value: object, segment: str | int) -> object:
    """The annotation of what stands under a key of a value."""
    model = _model_of(annotation, value)
    if model is not None and segment in _fields(model):
        return _fields(model)[str(segment)].annotation
    for member in _members(annotation):
        arguments = get_args(member)
        if get_origin(member) is dict and isinstance(segment, str):
            return arguments[1]
        if get_origin(member) in {tuple, list} and isinstance(segment, int):
            return arguments[0]
    return None


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields by the key that stands in the file."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _members(annotation: object) -> list[object]:
    """The members of a union, or the annotation alone."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [inner for member in get_args(annotation) for inner in _members(member)]
    return [annotation]


def _models(annotation: object) -> list[type[BaseModel]]:
    return [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]


def _model_of(annotation: object, value: object) -> type[BaseModel] | None:
    """The model a mapping is meant for: the only one, or the one whose tag it carries."""
    models = _models(annotation)
    if len(models) <= 1 or not isinstance(value, dict):
        return models[0] if len(models) == 1 else None
    return next((m for m in models if any(value.get(key) in tags for key, tags in _literals(m).items())), None)


def _literals(model: type[BaseModel]) -> dict[str, tuple[object, ...]]:
    """Required fields that admit only given values: what tells the members of a union apart."""
    return {
        name: get_args(info.annotation)
        for name, info in model.model_fields.items()
        if info.is_required() and get_origin(info.annotation) is Literal
    }


def _tags(annotation: object, key: str) -> list[str]:
    return [str(tag) for model in _models(annotation) for tag in _literals(model).get(key, ())]
