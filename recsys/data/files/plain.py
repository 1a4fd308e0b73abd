"""Physical types of Arrow to the few that the parsers of columns know.

Text becomes `large_string`, so that joining files cannot overflow; every kind of list `large_list`; dictionaries,
run-end encoded arrays and extension types become what they stand for. A duration becomes its seconds, a time of day
its text.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["UnreadableTypeError", "plain_array"]

_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class UnreadableTypeError(Exception):
    """A column is of a type that no reader knows."""


def plain_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One plain array.

    Raises:
        UnreadableTypeError: There is no plain form of this type.
    """
    array = _joined(column) if isinstance(column, pa.ChunkedArray) else column
    try:
        return _plain(array)
    except (pa.ArrowException, NotImplementedError) as error:
        raise UnreadableTypeError(str(error)) from error


def _joined(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)


def _plain(array: pa.Array) -> pa.Array:
    for is_kind, convert in _CONVERSIONS:
        if is_kind(array.type):
            return convert(array)
    return array


def _is_list(kind: pa.DataType) -> bool:
    checks = (
        *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
        *(pa.types.is_list_view, pa.types.is_large_list_view),
    )
    return any(check(kind) for check in checks)


def _list(array: pa.Array) -> pa.Array:
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    array = _without_views(array)
    # What a null list may hold is no value of the column.
    some = array if not array.null_count else array.filter(array.is_valid())
    return pa.LargeListArray.from_arrays(pa.array(offsets), _plain(pc.list_flatten(some)), mask=array.is_null())


def _without_views(array: pa.Array) -> pa.Array:
    """Lists of text whose kernels exist: Arrow neither takes nor flattens views in lists with offsets."""
    kind = array.type
    inner = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}.get(kind.value_type)
    if inner is None or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return array
    if pa.types.is_fixed_size_list(kind):
        return array.cast(pa.list_(inner, kind.list_size))
    return array.cast(pa.large_list(inner))


def _dictionary(array: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(array.indices, _plain(array.dictionary)).dictionary_decode()


def _duration(array: pa.Array) -> pa.Array:
    ticks = array.cast(pa.int64()).cast(pa.float64(), safe=False)
    return pc.divide(ticks, float(_UNITS[array.type.unit]))


def _bool8(array: pa.Array) -> pa.Array:
    return array.storage.cast(pa.bool_())


def _refuse(array: pa.Array) -> pa.Array:
    raise UnreadableTypeError("calendar intervals have no length")


_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (lambda kind: getattr(kind, "extension_name", None) == "arrow.bool8", _bool8),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), lambda array: _plain(array.storage)),
    (pa.types.is_dictionary, _dictionary),
    (pa.types.is_run_end_encoded, lambda array: _plain(pc.run_end_decode(array))),
    (pa.types.is_string, lambda array: array.cast(pa.large_string())),
    (pa.types.is_string_view, lambda array: array.cast(pa.large_string())),
    (pa.types.is_binary_view, lambda array: array.cast(pa.large_binary())),
    (pa.types.is_float16, lambda array: array.cast(pa.float32())),
    (pa.types.is_decimal32, lambda array: array.cast(pa.decimal128(9, array.type.scale))),
    (pa.types.is_decimal64, lambda array: array.cast(pa.decimal128(18, array.type.scale))),
    (pa.types.is_time, lambda array: array.cast(pa.large_string())),
    (pa.types.is_duration, _duration),
    (pa.types.is_interval, _refuse),
    (_is_list, _list),
)
