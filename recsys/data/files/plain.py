"""Physical types of Arrow to the few that the parsers of columns know."""

import pyarrow as pa

__all__ = ["plain_array"]


def plain_array(column: pa.ChunkedArray) -> pa.Array:
    """One chunk, dictionary decoded, text in 64-bit offsets so that joining files cannot overflow."""
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    return array
