"""The OpenAPI document of a service, with the columns of the bundle it has loaded."""

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from recsys.data.columns import Role
from recsys.data.config import TableSide
from recsys.data.list_text import LIST_FORM
from recsys.data.values import expected_form
from recsys.features.encoder import FeatureEncoder

__all__ = ["bundle_document"]

_TEXT, _NUMBER, _TRUTH, _NOTHING = ({"type": kind} for kind in ("string", "number", "boolean", "null"))
_CATEGORY = [_TEXT, _NUMBER, _TRUTH]
_MOMENT = 1_735_668_000
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DATES = {"yyyymmdd": 20241231, "yyyymmddhhmm": 202412311800, "yyyymmddhhmmss": 20241231180000, "excel": 45657.75}
_EXAMPLES = 3


def bundle_document(document: dict[str, Any], encoder: FeatureEncoder, rows: Sequence[Role]) -> dict[str, Any]:
    """The document with the columns that requests may send, their types and examples.

    Args:
        document: of the service alone; it stays as it is.
        encoder: of the bundle.
        rows: columns of the rows that it scores.
    """
    document = deepcopy(document)
    _describe_rows(document["components"]["schemas"]["PredictRequest"], encoder, rows)
    body = document["components"]["schemas"]["RecommendRequest"]["properties"]
    sides: dict[str, TableSide] = {"features": "user", "context": "context"}
    examples = {}
    for name, side in sides.items():
        columns = {column: _column(encoder, side, column) for column in encoder.columns(side)}
        about = {key: body[name][key] for key in ("title", "description") if key in body[name]}
        body[name] = {**about, "type": "object", "properties": columns, "additionalProperties": False}
        examples[name] = {column: schema["examples"][0] for column, schema in columns.items() if schema["examples"]}
    document["components"]["schemas"]["RecommendRequest"]["examples"] = [{**examples, "k": 10}]
    return document


def _describe_rows(body: dict[str, Any], encoder: FeatureEncoder, rows: Sequence[Role]) -> None:
    read = encoder.columns("context")
    columns = {
        role.column: _column(encoder, "context", role.name) if role.name in read else _described(role, [], None)
        for role in rows
    }
    body["properties"]["rows"]["items"] = {"type": "object", "properties": columns, "additionalProperties": False}
    example = {column: schema["examples"][0] for column, schema in columns.items() if schema["examples"]}
    body["examples"] = [{"rows": [example]}]


def _column(encoder: FeatureEncoder, side: TableSide, column: str) -> dict[str, Any]:
    role = encoder.role(side, column)
    known = encoder.vocabulary(side, column)
    values = [] if known is None else known[:_EXAMPLES].to_pylist()
    return _described(role, values, encoder.typical_number(side, column))


def _described(role: Role, values: list[str], number: float | None) -> dict[str, Any]:
    types, examples = _types(role, values, number)
    return {"anyOf": [*types, _NOTHING], "description": f"Send {expected_form(role)}.", "examples": examples}


def _types(role: Role, values: list[str], number: float | None) -> tuple[list[dict[str, Any]], list[Any]]:
    match role.kind:
        case "numeric":
            return [_NUMBER, _TRUTH], [12.5 if number is None else number]
        case "multi_categorical":
            several = {"type": "array", "items": {"anyOf": _CATEGORY}}
            return [several, _TEXT], [values[:2], _one_text(role, values[:2])] if values else []
        case "timestamp":
            moment = _TEXT if role.form else {"type": "string", "format": "date-time"}
            count = _DATES.get(role.unit, _MOMENT * _TICKS.get(role.unit, 1))
            return [moment, _NUMBER], ["2024-12-31T18:00:00Z", count]
        case "text":
            return [_TEXT], []
        case _:
            return _CATEGORY, values


def _one_text(role: Role, values: list[str]) -> str:
    return json.dumps(values, ensure_ascii=False) if role.separator == LIST_FORM else role.separator.join(values)
