"""Raw values of a request, as JSON or Python has them, read by the readers of the files: see `recsys.data.columns`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.data.cells import EXACT, NUMBER_KINDS, ColumnTypeError, Parsed, Role
from recsys.data.columns import parse
from recsys.data.list_text import LIST_FORM

__all__ = ["expected_form", "read_ids", "read_values", "role_from_json", "role_to_json"]

_NOT_SAVED = ("name", "column", "required")


def read_values(values: Sequence[object], role: Role) -> Parsed:
    """The canonical column of values of any mixture of types, each read as it would be alone.

    Args:
        values: text, numbers, truth values, times, `None`, or lists of these where the kind holds several.
        role: settled by the column that was trained on.

    Raises:
        ColumnTypeError: a value is of a type that this kind does not hold.
    """
    lists = np.array([isinstance(value, list | tuple) for value in values], dtype=np.bool_)
    if role.kind != "multi_categorical" or not lists.any():
        return parse(pa.array([_text(value, role) for value in values], pa.large_string()), role)
    cells = [value if isinstance(value, list | tuple) else None for value in values]
    kind = pa.large_list(pa.large_string())
    held = pa.array([None if cell is None else [_text(one, role) for one in cell] for cell in cells], kind)
    rest = pa.array([None if isinstance(v, list | tuple) else _text(v, role) for v in values], pa.large_string())
    of_lists, of_text = parse(held, role), parse(rest, role)
    both = pa.concat_arrays([of_lists.values, of_text.values])
    rows = np.where(lists, 0, len(values)) + np.arange(len(values))
    return replace(of_text, values=both.take(pa.array(rows)))


def read_ids(values: Sequence[object], role: Role) -> list[str | None]:
    """The canonical ids of raw ones; `None` where one stands for a missing value or is no id at all."""
    found: list[str | None] = read_values(values, role).values.to_pylist()
    return found


def expected_form(role: Role) -> str:
    """What a request may send for a column, in words."""
    match role.kind:
        case "numeric":
            return "a number, such as 12.5"
        case "multi_categorical":
            between = "in brackets" if role.separator == LIST_FORM else f"with {role.separator!r} between its values"
            return f'a list such as ["a", "b"], or one text {between}'
        case "timestamp":
            return f"a time such as 2024-12-31T18:00:00Z, or {_other_form(role)}"
        case "text":
            return "text"
        case "id":
            return "text or a whole number"
        case _:
            return "text, a whole number, true or false"


_NUMBERS = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "excel": "days of a spreadsheet such as 45254.5",
    "text": "seconds or milliseconds since 1970",
}


def _other_form(role: Role) -> str:
    if role.form is not None:
        return f"text of the form {role.form}"
    return _NUMBERS.get(role.unit, f"{role.unit.upper()} as a number")


def role_to_json(role: Role) -> dict[str, Any]:
    """How values are read, as `role_from_json` takes it."""
    return {name: value for name, value in asdict(role).items() if name not in _NOT_SAVED}


def role_from_json(column: str, saved: Mapping[str, Any]) -> Role:
    """The role of a column. Raises `TypeError` or `KeyError` when it was saved by something else."""
    fields = {**saved, "null_values": tuple(map(str, saved["null_values"]))}
    return Role(column, column, **fields)


def _text(value: object, role: Role) -> str | None:
    """A value as CSV would hold it."""
    match value:
        case None:
            return None
        case bool() | np.bool_() if role.kind == "id":
            raise ColumnTypeError(repr(value), expected_form(role))
        case float() | np.floating() if role.kind == "id" and math.isfinite(value) and not float(value).is_integer():
            raise ColumnTypeError(repr(value), expected_form(role))
        case bool() | np.bool_():
            return "true" if value else "false"
        case str():
            # JSON may hold half of a surrogate pair, which no text does.
            return value.encode("utf-8", "replace").decode("utf-8")
        case int() | np.integer() | Decimal():
            return str(value)
        case float() | np.floating():
            text = _float_text(float(value))
            return text.replace(".", role.decimal) if text and role.kind in NUMBER_KINDS else text
        case datetime() | date():
            return value.isoformat()
    raise ColumnTypeError(f"{value!r}", "text, a number, true, false or null")


def _float_text(value: float) -> str | None:
    if not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    text: str = pa.scalar(value).cast(pa.string()).as_py()
    return text
