"""A column of every Arrow type there is, for tests that feed all of them to something."""

import io
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = 12
MOMENTS = [datetime(2024, 1, 1 + n, 12, n) for n in range(ROWS)]
WORDS = [f"word {n % 4}" for n in range(ROWS)]


def arrow_types() -> dict[str, pa.Array]:
    """By a name of the type, `ROWS` values without null; whole numbers from 1 where it is a number."""
    counts = range(1, ROWS + 1)
    whole = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
    decimals = [pa.decimal32(5, 2), pa.decimal64(12, 2), pa.decimal128(30, 0), pa.decimal256(50, 5)]
    columns = {str(kind): pa.array(counts, kind) for kind in whole}
    columns |= {str(kind): pa.array([Decimal(n) for n in counts], kind) for kind in decimals}
    columns["float16"] = pa.array([np.float16(n) for n in counts], pa.float16())
    columns |= {str(kind): pa.array([float(n) for n in counts], kind) for kind in (pa.float32(), pa.float64())}
    columns["bool"] = pa.array([n % 2 == 0 for n in counts])
    columns |= _texts() | _times() | _nested()
    columns["null"] = pa.nulls(ROWS)
    return columns


def _texts() -> dict[str, pa.Array]:
    texts = [pa.string(), pa.large_string(), pa.string_view()]
    bytes_ = [pa.binary(), pa.large_binary(), pa.binary_view()]
    columns = {str(kind): pa.array(WORDS, kind) for kind in texts}
    columns |= {str(kind): pa.array([word.encode() for word in WORDS], kind) for kind in bytes_}
    columns["not utf-8"] = pa.array([b"\xff" + word.encode() for word in WORDS])
    columns["binary[6]"] = pa.array([word.encode() for word in WORDS], pa.binary(6))
    keys = [uuid.UUID(int=2**127 + n).bytes for n in range(ROWS)]
    columns["binary[16]"] = pa.array(keys, pa.binary(16))
    columns["uuid"] = pa.array(keys, pa.uuid())
    columns["dictionary<string>"] = pa.array(WORDS).dictionary_encode()
    columns["dictionary<int64>"] = pa.array(range(1, ROWS + 1)).dictionary_encode()
    columns["run end<string>"] = pc.run_end_encode(pa.array(sorted(WORDS)))
    columns["run end<int64>"] = pc.run_end_encode(pa.array([1] * 6 + [2] * 6))
    return columns


def _times() -> dict[str, pa.Array]:
    columns = {}
    for unit in ("s", "ms", "us", "ns"):
        columns[f"timestamp[{unit}]"] = pa.array(MOMENTS, pa.timestamp(unit))
        columns[f"timestamp[{unit}, UTC]"] = pa.array(
            [m.replace(tzinfo=UTC) for m in MOMENTS], pa.timestamp(unit, "UTC")
        )
        columns[f"duration[{unit}]"] = pa.array([timedelta(hours=n) for n in range(ROWS)], pa.duration(unit))
    columns["timestamp[us, Tokyo]"] = pa.array(MOMENTS, pa.timestamp("us", "Asia/Tokyo"))
    columns["date32"] = pa.array([m.date() for m in MOMENTS], pa.date32())
    columns["date64"] = pa.array([date(2024, 1, 1 + n) for n in range(ROWS)], pa.date64())
    clock = [time(n, 30) for n in range(ROWS)]
    columns |= {str(kind): pa.array(clock, kind) for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"))}
    columns["time64[ns]"] = pa.array(clock, pa.time64("ns"))
    columns["interval"] = pa.array([(1, n, 3) for n in range(ROWS)], pa.month_day_nano_interval())
    return columns


def _nested() -> dict[str, pa.Array]:
    lists = [[word, "also"] for word in WORDS]
    text = pa.string()
    kinds = [pa.list_(text), pa.large_list(text), pa.list_(text, 2), pa.list_view(text), pa.large_list_view(text)]
    columns = {str(kind): pa.array(lists, kind) for kind in kinds}
    columns["list<int64>"] = pa.array([[n, 7] for n in range(ROWS)])
    columns["list<double>"] = pa.array([[float(n), 7.5] for n in range(ROWS)])
    columns["list<uuid>"] = pa.array([[uuid.UUID(int=n).bytes] for n in range(ROWS)], pa.list_(pa.binary(16)))
    columns["list<list>"] = pa.array([[[n]] for n in range(ROWS)])
    columns["list<struct>"] = pa.array([[{"a": n}] for n in range(ROWS)])
    coded = pa.array([one for pair in lists for one in pair]).dictionary_encode()
    columns["list<dictionary>"] = pa.ListArray.from_arrays(pa.array(range(0, 2 * ROWS + 1, 2), pa.int32()), coded)
    columns["struct"] = pa.array([{"a": n, "b": "x"} for n in range(ROWS)])
    columns["map"] = pa.array([[("a", n)] for n in range(ROWS)], pa.map_(text, pa.int64()))
    return columns


def variants(column: pa.Array) -> dict[str, pa.Array]:
    """The column, with every third value missing, with nothing but missing ones, and without rows."""
    nothing = _nulls(column.type, len(column))
    some = [column.slice(row, 1) if row % 3 else nothing.slice(row, 1) for row in range(len(column))]
    if pa.types.is_run_end_encoded(column.type):  # as any other type, once decoded
        return {"full": column, "all null": nothing, "empty": column.slice(0, 0)}
    return {
        "full": column,
        "nullable": pa.concat_arrays(some) if not pa.types.is_dictionary(column.type) else _thinned(column),
        "all null": nothing,
        "empty": column.slice(0, 0),
    }


def _thinned(column: pa.Array) -> pa.Array:
    keep = pa.array([row if row % 3 else None for row in range(len(column))], pa.int64())
    return column.take(keep)


def _nulls(kind: pa.DataType, rows: int) -> pa.Array:
    if pa.types.is_run_end_encoded(kind):
        return pc.run_end_encode(pa.nulls(rows, kind.value_type))
    return pa.nulls(rows, kind)


def fits_parquet(column: pa.Array) -> bool:
    """Whether pyarrow writes the type to Parquet and reads it back."""
    try:
        stream = io.BytesIO()
        pq.write_table(pa.table({"x": column}), stream)
        pq.read_table(stream)
    except (pa.ArrowException, NotImplementedError):
        return False
    return True
