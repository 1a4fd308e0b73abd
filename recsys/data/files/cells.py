"""Values of JSON and spreadsheets to Arrow columns: every type as it is, and text where a column mixes them.

Whole numbers stay integers however large (text beyond 64 bits), truth values stay truth values. A column of several
types becomes text in the form of JSON, whole numbers without `.0`; nothing is lost but the type. A list is a list of
such values, and where a column mixes lists and single values, these are lists of one.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

__all__ = ["array_of", "join_arrays"]

_EXACT = 2**53
_LOW, _HIGH = -(2**63), 2**63


def array_of(values: Sequence[Any]) -> pa.Array:
    """One column.

    Example:
        >>> array_of([1, None, 2]).type, array_of([1, "a"]).to_pylist(), array_of([[1], 2]).to_pylist()
        (DataType(int64), ['1', 'a'], [[1], [2]])
    """
    kinds = {type(value) for value in values} - {type(None)}
    if list in kinds:
        return _lists(values)
    kind = _arrow_type(values, kinds)
    if kind is None:
        return _texts([_maybe_text(value) for value in values])
    if kind == pa.large_string():
        return _texts(values)
    return pa.array(values, kind)


def join_arrays(arrays: Sequence[pa.Array]) -> pa.Array:
    """One column of parts that `array_of` made, in a type that holds all of them."""
    kinds = {array.type for array in arrays if not pa.types.is_null(array.type)}
    if len(kinds) <= 1:
        kind = next(iter(kinds), pa.null())
        return pa.concat_arrays([array.cast(kind) for array in arrays]) if arrays else pa.nulls(0)
    if any(pa.types.is_large_list(kind) for kind in kinds):
        values: list[Any] = [value for array in arrays for value in array.to_pylist()]
        return array_of(values)
    if kinds == {pa.int64(), pa.float64()}:
        try:
            return pa.concat_arrays([array.cast(pa.float64()) for array in arrays])
        except pa.ArrowInvalid:
            pass  # A whole number that no float holds: text.
    # Part by part: Python objects of a long column take many times its memory.
    return pa.concat_arrays([_texts([_maybe_text(value) for value in array.to_pylist()]) for array in arrays])


def _maybe_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _arrow_type(values: Sequence[Any], kinds: set[type]) -> pa.DataType | None:
    """The type that holds all values exactly; `None` for text."""
    if kinds == {int}:
        fits = all(value is None or _LOW <= value < _HIGH for value in values)
        return pa.int64() if fits else None
    if kinds == {int, float}:
        exact = all(type(value) is not int or -_EXACT <= value <= _EXACT for value in values)
        return pa.float64() if exact else None
    single: dict[type, pa.DataType] = {
        bool: pa.bool_(),
        float: pa.float64(),
        str: pa.large_string(),
        datetime: pa.timestamp("us"),
        date: pa.date32(),
    }
    if not kinds:
        return pa.null()
    return single.get(next(iter(kinds))) if len(kinds) == 1 else None


def _texts(values: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(values, pa.large_string())
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can escape: bytes that are not UTF-8, so that its row is rejected.
        raw = [None if value is None else value.encode("utf-8", "surrogatepass") for value in values]
        return pa.array(raw, pa.large_binary()).cast(pa.large_string(), safe=False)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if isinstance(value, date):
        return value.isoformat()
    is_json = isinstance(value, (bool, int, float, list, dict))
    return json.dumps(value, ensure_ascii=False) if is_json else str(value)


def _lists(values: Sequence[Any]) -> pa.Array:
    cells = [value if value is None or isinstance(value, list) else [value] for value in values]
    members = [_text(member) if isinstance(member, (list, dict)) else member for cell in cells for member in cell or ()]
    offsets: list[int | None] = []
    total = 0
    for cell in cells:
        offsets.append(None if cell is None else total)
        total += len(cell or ())
    flat = array_of(members)
    return pa.LargeListArray.from_arrays(pa.array([*offsets, total], pa.int64()), flat)
