"""Ids that Parquet stores as bytes, as the text they stand for."""

import pyarrow as pa

from recsys.data.files.plain import plain_array

__all__ = ["readable_array"]

_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
_CUTS = (slice(0, 8), slice(8, 12), slice(12, 16), slice(16, 20), slice(20, 32))


def readable_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A plain array; bytes as text where all of them are UTF-8, 16 fixed bytes as the text of a UUID.

    Raises:
        UnreadableTypeError: There is no plain form of this type.
    """
    array = plain_array(column)
    if pa.types.is_fixed_size_binary(array.type) and array.type.byte_width == 16:
        digits = [None if cell is None else cell.hex() for cell in array.to_pylist()]
        texts = [None if one is None else "-".join(one[cut] for cut in _CUTS) for one in digits]
        return pa.array(texts, pa.large_string())
    if any(is_bytes(array.type) for is_bytes in _BYTES):
        try:
            return array.cast(pa.large_binary()).cast(pa.large_string())
        except pa.ArrowInvalid:
            return array
    return array
