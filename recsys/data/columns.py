"""Raw columns to canonical types, vectorised: values, and a mask of the rows that do not fit for each reason.

A value means the same in whatever type it comes: text of CSV, a Parquet type, or JSON (`recsys.data.values`). Rules:

- Blanks around text are not part of it. An empty cell, and what `null_values` lists, is missing.
- Ids and categories never pass through an inexact float. `5`, `"5"`, `5.0` and `"5.0"` are the category `5`; `"05"` is
  another one. Booleans, and the words true and false in any case, are the categories `true` and `false`.
- Ids likewise, but `12.0` stays as it is in a column of ids with other fractions (`1.5`), which are no counted numbers.
- Booleans are the numbers 0 and 1. NaN and infinity are null in a feature and refused in a label.
- Times without a zone are UTC.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.cells import (
    EXACT,
    NUMBER,
    NUMBER_KINDS,
    ColumnTypeError,
    Floats,
    Kind,
    Mask,
    Parsed,
    Role,
    WrongTypeError,
    as_floats,
    as_mask,
    distinct,
    masked_array,
    trimmed,
)
from recsys.data.list_text import split_cells
from recsys.data.plain import UnreadableTypeError, is_bytes, plain_array
from recsys.data.tables import ID_TYPE, KIND_TYPES, LABEL_TYPE, WINDOWS
from recsys.data.times import read_times

__all__ = ["ColumnTypeError", "Kind", "Parsed", "Role", "parse"]

_TEXT = pa.large_string()
_GROUP_MARKS = {",": ",", ".": r"\.", "'": "['’]", " ": "[ \u00a0\u202f]"}
_TRUE = pa.array(["1", "true", "t", "yes", "y"], type=_TEXT)
_FALSE = pa.array(["0", "false", "f", "no", "n"], type=_TEXT)
_WHOLE = r"^(0|-?[1-9]\d*)\.0+$"
_FRACTION = r"^-?\d+\.\d*[1-9]\d*$"


def parse(column: pa.Array, role: Role) -> Parsed:
    """Reads a raw column.

    Raises:
        ColumnTypeError: The column is of a type that cannot play this part.
    """
    try:
        parsed = _PARSERS[role.kind](_point_numbers(plain_array(column), role), role)
    except WrongTypeError:
        raise ColumnTypeError(_type_name(column.type), _FORMS[role.kind]) from None
    except (UnreadableTypeError, pa.ArrowException, NotImplementedError) as error:
        raise ColumnTypeError(f"{_type_name(column.type)} ({error})", _FORMS[role.kind]) from error
    settled = replace(parsed.role, settled=True)
    if not role.required:
        return replace(parsed, role=settled)
    missing = as_mask(pc.is_null(parsed.values))
    for mask in parsed.bad.values():
        missing &= ~mask
    expected = _EXPECTED[role.kind]
    return Parsed(parsed.values, settled, {**parsed.bad, expected: missing | parsed.bad.get(expected, False)})


def _point_numbers(column: pa.Array, role: Role) -> pa.Array:
    """Numbers in text with a decimal point and no marks between their digits, which is how the parsers read them."""
    if (
        role.kind not in NUMBER_KINDS
        or (role.decimal == "." and role.thousands is None)
        or not pa.types.is_large_string(column.type)
    ):
        return column
    text = pc.utf8_trim_whitespace(column)
    decimal, group = re.escape(role.decimal), _GROUP_MARKS.get(role.thousands or "", "")
    fits = pc.match_substring_regex(text, rf"^[+-]?(\d+|\d{{1,3}}({group}\d{{3}})+)?({decimal}\d*)?([eE][+-]?\d+)?$")
    pointed = pc.replace_substring_regex(text, group, "") if group else text
    pointed = pc.replace_substring(pointed, role.decimal, ".")
    # With another decimal mark, a number with a point is none.
    foreign = pc.match_substring_regex(text, NUMBER) if role.decimal != "." else pa.scalar(False)
    return pc.if_else(fits, pointed, pc.if_else(foreign, "no number", column))


def _type_name(kind: pa.DataType) -> str:
    # Bytes that are UTF-8 are read as text, so these are not.
    return f"bytes that are not UTF-8 (of type {kind})" if is_bytes(kind) else f"the type {kind}"


def _id(column: pa.Array, role: Role) -> Parsed:
    kind = column.type
    if pa.types.is_null(kind) or pa.types.is_integer(kind):
        return Parsed(column.cast(ID_TYPE), replace(role, strip_zeros=True))
    if pa.types.is_large_string(kind):
        return _text_id(column, role)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Parsed(_whole_ids(column), replace(role, strip_zeros=True))
    raise WrongTypeError


def _text_id(column: pa.Array, role: Role) -> Parsed:
    values, places = distinct(column)
    text, strip = trimmed(values, role.null_values), role.strip_zeros
    if not role.settled:
        strip = not pc.any(pc.match_substring_regex(text, _FRACTION)).as_py()
    text = _without_zeros(text) if strip else text
    return Parsed(text if places is None else text.take(places), replace(role, strip_zeros=strip))


def _whole_ids(column: pa.Array) -> pa.Array:
    """Numbers of a type with a fraction as ids.

    Raises:
        ColumnTypeError: One has a fraction, or is so large that another id may have become the same number.
    """
    if pa.types.is_decimal(column.type):
        text = _decimal_names(column)
        odd = pc.match_substring(text, ".")
    else:
        column = pc.if_else(pc.is_nan(column), None, column)
        text, below = _float_names(column), EXACT if column.type == pa.float64() else 2.0**24
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), pa.scalar(below, column.type)))
        odd = pc.invert(whole)
    if pc.any(odd).as_py():
        example = column.filter(odd)[0].as_py()
        raise ColumnTypeError(
            f"{example!r} of type {column.type}", f"{_FORMS['id']} (a float merges large ids and fractions)"
        )
    return text


def _without_zeros(text: pa.Array) -> pa.Array:
    """`12.0` as `12`, and any way to write minus zero as `0`."""
    if pc.any(pc.match_substring(text, ".0")).as_py():
        text = pc.replace_substring_regex(text, _WHOLE, r"\1")
    if pc.any(pc.starts_with(text, "-0")).as_py():
        text = pc.replace_substring_regex(text, r"^-0(\.0+)?$", "0")
    return text


def _category(column: pa.Array, role: Role) -> Parsed:
    kind = column.type
    if pa.types.is_floating(kind):
        return Parsed(_float_names(column), role)
    if pa.types.is_decimal(kind):
        return Parsed(_decimal_names(column), role)
    if not pa.types.is_large_string(kind):
        return Parsed(_text(column, role), role)
    values, places = distinct(column)
    text = _without_zeros(trimmed(values, role.null_values))
    lower = pc.utf8_lower(text)
    text = pc.if_else(pc.is_in(lower, pa.array(["true", "false"], _TEXT)), lower, text)
    return Parsed(text if places is None else text.take(places), role)


def _free_text(column: pa.Array, role: Role) -> Parsed:
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return _category(column, role)
    return Parsed(_text(column, role), role)


def _text(column: pa.Array, role: Role) -> pa.Array:
    """Trimmed text of values that have one way to be written."""
    kind = column.type
    if pa.types.is_time(kind):
        return pc.replace_substring_regex(column.cast(_TEXT), r"\.0+$", "")
    simple = (pa.types.is_null, pa.types.is_integer, pa.types.is_boolean, pa.types.is_large_string, pa.types.is_date)
    if not any(test(kind) for test in simple):
        raise WrongTypeError
    return trimmed(column.cast(_TEXT), role.null_values)


def _float_names(column: pa.Array) -> pa.Array:
    """Text of floats; whole ones without the `.0` that a null elsewhere in an integer column leaves behind."""
    values = _shortest(column)
    finite = pc.is_finite(values)
    whole = pc.and_(finite, pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), EXACT)))
    integers = pc.if_else(whole, values, None).cast(pa.int64()).cast(_TEXT)
    others = pc.if_else(finite, values, None).cast(_TEXT)
    return pc.coalesce(integers, others)


def _decimal_names(column: pa.Array) -> pa.Array:
    """Text of decimals without the zeros that only say how many places the type has."""
    text = pc.replace_substring_regex(column.cast(_TEXT), r"(\.\d*?)0+$", r"\1")
    return pc.replace_substring_regex(text, r"\.$", "")


def _shortest(column: pa.Array) -> pa.Array:
    """A float32 as the float64 that is written alike: .1, not .10000000149, so that it equals the .1 of a request."""
    if not pa.types.is_float32(column.type):
        return column
    return column.cast(_TEXT).cast(pa.float64())


def _categories(column: pa.Array, role: Role) -> Parsed:
    if not pa.types.is_large_list(column.type):
        column = split_cells(_category(column, role).values, role.separator)
    null = as_mask(pc.is_null(column))
    # Neither `list_parent_indices` nor a cast: both count what lies under a null of a fixed-size list.
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    owners = np.repeat(np.arange(len(column)), lengths)
    values = _category(pc.list_flatten(column), role).values
    keep = pc.is_valid(values)
    counts = np.bincount(owners[as_mask(keep)], minlength=len(column))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(
        pa.array(offsets), values.filter(keep), type=KIND_TYPES["multi_categorical"], mask=pa.array(null, pa.bool_())
    )
    return Parsed(lists, role)


def _numbers(column: pa.Array, role: Role) -> tuple[Floats, Mask, Mask]:
    """As `as_floats`; booleans, and the words true and false, are 1 and 0."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_large_string(column.type):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(column))
        column = pc.if_else(pc.equal(text, "true"), "1", pc.if_else(pc.equal(text, "false"), "0", column))
    return as_floats(column, role)


def _number(column: pa.Array, role: Role) -> Parsed:
    values, null, bad = _numbers(_shortest(column), role)
    numbers = masked_array(values, null | bad | ~np.isfinite(values), pa.float64())
    return Parsed(numbers, role, {_EXPECTED["numeric"]: bad})


def _label(column: pa.Array, role: Role) -> Parsed:
    values, null, bad = _numbers(column, role)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    bad |= ~np.isfinite(narrow)
    return Parsed(masked_array(narrow, null | bad, LABEL_TYPE), role, {_EXPECTED["label"]: bad})


def _position(column: pa.Array, role: Role) -> Parsed:
    values, null, bad = as_floats(column, role)
    bad |= ~((values >= 0) & (values < 2**31) & (np.floor(values) == values))
    places = masked_array(np.where(bad, 0, values).astype(np.int32), null | bad, pa.int32())
    return Parsed(places, role, {_EXPECTED["position"]: bad})


def _propensity(column: pa.Array, role: Role) -> Parsed:
    values, null, bad = as_floats(column, role)
    bad |= ~null & ~((values > 0) & (values <= 1))
    narrow = np.where(bad, 0, values).astype(np.float32)
    return Parsed(masked_array(narrow, null | bad, pa.float32()), role, {_EXPECTED["propensity"]: bad})


def _window(column: pa.Array, role: Role) -> Parsed:
    text = pc.utf8_lower(_category(column, role).values)
    codes = pc.index_in(text, pa.array(WINDOWS, _TEXT))
    null, bad = as_mask(pc.is_null(text)), as_mask(pc.and_(pc.is_null(codes), pc.is_valid(text)))
    values = masked_array(codes.fill_null(0).to_numpy(), null | bad, pa.int8())
    return Parsed(values, role, {_EXPECTED["window"]: bad})


def _flag(column: pa.Array, role: Role) -> Parsed:
    if pa.types.is_boolean(column.type):
        return Parsed(column, role)
    if pa.types.is_nested(column.type) or pa.types.is_temporal(column.type):
        raise WrongTypeError
    text = pc.utf8_lower(_category(column, role).values)
    true, false, null = as_mask(pc.is_in(text, _TRUE)), as_mask(pc.is_in(text, _FALSE)), as_mask(pc.is_null(text))
    bad = ~(true | false | null)
    return Parsed(masked_array(true, null | bad, pa.bool_()), role, {_EXPECTED["flag"]: bad})


_PARSERS: dict[Kind, Callable[[pa.Array, Role], Parsed]] = {
    "id": _id,
    "label": _label,
    "flag": _flag,
    "position": _position,
    "propensity": _propensity,
    "window": _window,
    "categorical": _category,
    "multi_categorical": _categories,
    "numeric": _number,
    "text": _free_text,
    "timestamp": read_times,
}
_EXPECTED: dict[Kind, str] = {
    "id": "expected an id",
    "label": "expected a finite number",
    "flag": "expected 0 or 1",
    "position": "expected a whole number from 0",
    "propensity": "expected a probability above 0",
    "window": f"expected one of {', '.join(WINDOWS)}",
    "categorical": "expected a value",
    "multi_categorical": "expected values",
    "numeric": "expected a number",
    "text": "expected text",
    "timestamp": "expected a date and time",
}
_FORMS: dict[Kind, str] = {
    "id": "ids as text or integers",
    "label": "numbers",
    "flag": "0 and 1, or true and false",
    "position": "numbers",
    "propensity": "numbers",
    "window": "text",
    "categorical": "text or numbers",
    "multi_categorical": "text, or lists of text or numbers",
    "numeric": "numbers",
    "text": "text",
    "timestamp": "dates or numbers",
}
"""What a column of each kind may hold, by the type of the whole column."""
