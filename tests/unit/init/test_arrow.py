"""`init` over columns of every Arrow type: each is read, or left out with its name and the reason."""

import uuid
from datetime import datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from recsys.config import Config
from recsys.init.create import create
from recsys.settings import load_settings

ROWS = 60
MOMENTS = [datetime(2024, 1, 1 + n % 28, 12, n) for n in range(ROWS)]
WORDS = [f"word {n % 4}" for n in range(ROWS)]
UUIDS = [uuid.UUID(int=2**127 + n % 7).bytes for n in range(ROWS)]


def arrow_types():
    """By name, a column of each type."""
    counts = [n % 9 for n in range(ROWS)]
    whole = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
    kinds = {str(kind): pa.array(counts, kind) for kind in (*whole, pa.float32(), pa.float64())}
    kinds["float16"] = pa.array([np.float16(n) for n in counts], pa.float16())
    decimals = (pa.decimal32(5, 2), pa.decimal64(12, 2), pa.decimal128(30, 0), pa.decimal256(50, 5))
    kinds |= {str(kind): pa.array([Decimal(n) for n in counts], kind) for kind in decimals}
    texts = (pa.string(), pa.large_string(), pa.string_view())
    kinds |= {str(kind): pa.array(WORDS, kind) for kind in texts}
    data = (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(6))
    kinds |= {str(kind): pa.array([word.encode() for word in WORDS], kind) for kind in data}
    kinds["not utf-8"] = pa.array([b"\xff" + word.encode() for word in WORDS])
    kinds["uuid"], kinds["binary[16]"] = pa.array(UUIDS, pa.uuid()), pa.array(UUIDS, pa.binary(16))
    kinds["bool"] = pa.array([n % 2 == 0 for n in counts])
    for unit in ("s", "ms", "us", "ns"):
        kinds[f"timestamp {unit}"] = pa.array(MOMENTS, pa.timestamp(unit, "Asia/Tokyo"))
        kinds[f"duration {unit}"] = pa.array([timedelta(hours=n) for n in counts], pa.duration(unit))
    kinds |= {str(kind): pa.array(MOMENTS, kind) for kind in (pa.date32(), pa.date64())}
    kinds |= {str(kind): pa.array([time(n, 30) for n in counts], kind) for kind in (pa.time32("s"), pa.time64("us"))}
    kinds["interval"] = pa.array([(1, n, 3) for n in counts], pa.month_day_nano_interval())
    lists = [[word, "also"] for word in WORDS]
    text = pa.string()
    nested = (pa.list_(text), pa.large_list(text), pa.list_(text, 2), pa.list_view(text), pa.large_list_view(text))
    kinds |= {f"nested {number}": pa.array(lists, kind) for number, kind in enumerate(nested)}
    kinds["list<int>"] = pa.array([[n, 7] for n in counts])
    kinds["list<uuid>"] = pa.array([[cell] for cell in UUIDS], pa.list_(pa.binary(16)))
    kinds["list<list>"], kinds["list<struct>"] = (
        pa.array([[[n]] for n in counts]),
        pa.array([[{"a": n}] for n in counts]),
    )
    coded = pa.array([one for pair in lists for one in pair]).dictionary_encode()
    kinds["list<dictionary>"] = pa.ListArray.from_arrays(pa.array(range(0, 2 * ROWS + 1, 2), pa.int32()), coded)
    kinds["struct"] = pa.array([{"a": n, "b": {"c": "x" * n}} for n in counts])
    kinds["map"] = pa.array([[("a", n)] for n in counts], pa.map_(text, pa.int64()))
    kinds["dictionary"] = pa.array(WORDS).dictionary_encode()
    kinds["run end"] = pc.run_end_encode(pa.array(sorted(WORDS)))
    kinds["union"] = pa.UnionArray.from_dense(
        pa.array([0] * ROWS, pa.int8()), pa.array(range(ROWS), pa.int32()), [pa.array(WORDS)]
    )
    kinds["null"] = pa.nulls(ROWS)
    return kinds


def with_nulls(array):
    """The same with every third value missing."""
    return array.take(pa.array([None if n % 3 == 0 else n for n in range(ROWS)], pa.int64()))


def written(columns, folder):
    """What `init` makes of a log with these columns besides user, item and time: part by column, and the file."""
    rng = np.random.default_rng(0)
    log = {
        "user_id": [f"u{n}" for n in rng.integers(0, 6, ROWS)],
        "item_id": [f"i{n}" for n in rng.integers(0, 9, ROWS)],
        "timestamp": [1_700_000_000 + 60 * n for n in range(ROWS)],
    }
    pq.write_table(pa.table({**log, **columns}), folder / "log.parquet")
    made = create(str(folder / "log.parquet"), out=folder / "made.yaml", force=True)
    load_settings(Config, folder / "made.yaml", environ={})
    return {row["column"]: row for row in made.rows()}, (folder / "made.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("change", [lambda array: array, with_nulls, lambda array: array.slice(0, 0)])
def test_every_type_is_read_or_left_out_with_a_reason(tmp_path, change):
    for name, array in arrow_types().items():
        try:
            column = change(array)
            column = column if len(column) else pa.nulls(ROWS, array.type)
            pq.write_table(pa.table({"x": column}), tmp_path / "probe.parquet")
        except (pa.ArrowException, NotImplementedError):
            continue  # Parquet cannot hold it, or Arrow cannot make it
        rows, text = written({"x": column}, tmp_path)
        mine = {column: row for column, row in rows.items() if column == "x" or column.startswith("x.")}
        assert mine or "left out: x: the type " in text.replace("\n    # ", " "), name
        for row in mine.values():
            assert row["why"], name
            assert row["role"] != "left out" or f"left out: {row['column']}: " in text.replace('"', ""), name


@pytest.mark.parametrize("kind", [pa.uuid(), pa.binary(16)])
def test_a_uuid_is_an_id(tmp_path, kind):
    people = pa.array(UUIDS, kind)
    rng = np.random.default_rng(1)
    items = [f"i{n}" for n in rng.integers(0, 9, ROWS)]
    pq.write_table(pa.table({"user": people, "item": items, "at": MOMENTS}), tmp_path / "log.parquet")
    made = create(str(tmp_path / "log.parquet"), out=tmp_path / "made.yaml")
    roles = {row["column"]: row["role"] for row in made.rows()}
    assert roles == {"user": "user_id", "item": "item_id", "at": "timestamp"}
    ids = made.log.sample.columns["user"].to_pylist()
    assert ids[:2] == [str(uuid.UUID(bytes=cell)) for cell in UUIDS[:2]]
