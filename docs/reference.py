"""Writes `configuration.md` from the models that check a configuration: `make docs`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recsys.config import Config

PAGE = Path(__file__).with_name("configuration.md")
Schema = dict[str, Any]

_INTRODUCTION = """\
# Configuration reference

Generated from the models by `make docs`; do not edit. `recsys config FILE` prints a configuration with every default.

Values come from the file, then from environment variables (`RECSYS__SPLIT__TEST=0.2`), then `--set split.test=0.2`;
the last one wins. An unknown key, a value of the wrong type or an impossible combination is refused with file and line.
"""


def page() -> str:
    """The whole page."""
    schema = Config.model_json_schema()
    definitions = schema.get("$defs", {})
    blocks = [_INTRODUCTION, *_section("", "The top level", schema, definitions, {}, level=2)]
    return "\n".join(blocks).rstrip() + "\n"


def _section(
    path: str, title: str, schema: Schema, definitions: Schema, shown: dict[str, str], *, level: int
) -> Iterator[str]:
    """A table of keys, then a section for every key that holds further keys, unless they were shown before."""
    yield f"{'#' * level} {title}\n"
    if schema.get("description"):
        yield _flat(schema["description"]) + "\n"
    properties = schema.get("properties", {})
    if any("const" not in value for value in properties.values()):
        yield "| key | value | default | meaning |\n|---|---|---|---|"
    for name, value in properties.items():
        if "const" in value:
            continue  # the heading says it
        default = "**required**" if name in schema.get("required", ()) else _default(value, definitions)
        # A description that repeats the model's own is given with the model alone.
        meaning = value.get("description") or ("$ref" in value and _resolve(value, definitions)["description"]) or ""
        yield f"| `{name}` | {_type(value, definitions)} | {default} | {_flat(meaning)} |"
    yield ""
    for name, value in properties.items():
        for where, inner in _inner(f"{path}.{name}" if path else name, value, definitions):
            kind = inner["properties"].get("kind", {}).get("const")
            key = json.dumps(inner, sort_keys=True)
            if key in shown:
                yield f"`{where}`{f', `kind: {kind}`' if kind else ''}: as `{shown[key]}`.\n"
                continue
            shown[key] = where
            heading = f"`{where}`" + (f", `kind: {kind}`" if kind else "")
            yield from _section(where, heading, inner, definitions, shown, level=min(level + 1, 4))


def _inner(path: str, value: Schema, definitions: Schema) -> Iterator[tuple[str, Schema]]:
    """The objects a value may hold, each with its path."""
    if "$ref" in value:
        yield from _inner(path, _resolve(value, definitions), definitions)
    elif "properties" in value:
        yield path, value
    elif _named(value):
        yield from _inner(f"{path}.<name>", _named(value), definitions)
    else:
        for option in (*value.get("oneOf", ()), *value.get("anyOf", ())):
            yield from _inner(path, option, definitions)


def _resolve(value: Schema, definitions: Schema) -> Schema:
    found: Schema = definitions[value["$ref"].rpartition("/")[2]]
    return found


def _type(value: Schema, definitions: Schema) -> str:
    """What may stand there, in words."""
    if "$ref" in value:
        return _type(_resolve(value, definitions), definitions)
    options = (*value.get("oneOf", ()), *value.get("anyOf", ()))
    if options:
        return " or ".join(dict.fromkeys(_type(option, definitions) for option in options))
    if "const" in value or "enum" in value:
        return ", ".join(f"`{entry}`" for entry in value.get("enum", [value.get("const")]))
    kind = value.get("type")
    if kind == "array":
        return f"list of {_type(value.get('items', {}), definitions)}"
    if kind == "object":
        return _object(value, definitions)
    words = {"integer": "integer", "number": "number", "string": "text", "boolean": "`true`, `false`", "null": "`null`"}
    return words.get(str(kind), "any") + _range(value)


def _object(value: Schema, definitions: Schema) -> str:
    if "properties" in value:
        kind = value["properties"].get("kind", {}).get("const")
        return f"`kind: {kind}`" if kind else "keys below"
    return f"by name: {_type(_named(value), definitions)}" if _named(value) else "any keys"


def _named(value: Schema) -> Schema:
    """What stands under names of the user's choice; empty where there are none."""
    further = value.get("additionalProperties")
    by_pattern: list[Schema] = list(value.get("patternProperties", {}).values())
    return further if isinstance(further, dict) else (by_pattern or [{}])[0]


def _range(value: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {value[name]:g}" for name, sign in signs.items() if name in value]
    return f" {', '.join(bounds)}" if bounds else ""


def _default(value: Schema, definitions: Schema) -> str:
    if "default" not in value:
        return ""
    default = value["default"]
    if isinstance(default, dict) and default and any(True for _ in _inner("", value, definitions)):
        return "see below"
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
