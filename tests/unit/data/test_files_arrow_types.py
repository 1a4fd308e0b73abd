"""Every Arrow type: read as a plain array with the same values, or refused with the column's name and the reason."""

import datetime as dt
import uuid
from contextlib import suppress
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.columns import Role, Unfit, parse
from recsys.data.config import DataConfig, TableConfig
from recsys.data.files import column_names, read_source
from recsys.data.files.plain import UnreadableTypeError, plain_array
from recsys.data.ingest import ingest
from recsys.errors import DataError

MOMENT = dt.datetime(2024, 2, 29, 12, 34, 56)
SCALARS = {
    **{f"int{bits}": (getattr(pa, f"int{bits}")(), 7) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (getattr(pa, f"uint{bits}")(), 7) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": (getattr(pa, f"float{bits}")(), 1.5) for bits in (16, 32, 64)},
    "bool": (pa.bool_(), True),
    "string": (pa.string(), "x"),
    "large_string": (pa.large_string(), "x"),
    "string_view": (pa.string_view(), "x"),
    "binary": (pa.binary(), b"x"),
    "large_binary": (pa.large_binary(), b"x"),
    "binary_view": (pa.binary_view(), b"x"),
    "fixed_binary": (pa.binary(2), b"xy"),
    "decimal32": (pa.decimal32(5, 2), Decimal("1.50")),
    "decimal64": (pa.decimal64(15, 2), Decimal("1.50")),
    "decimal128": (pa.decimal128(20, 2), Decimal("1.50")),
    "decimal256": (pa.decimal256(40, 2), Decimal("1.50")),
    "date32": (pa.date32(), MOMENT.date()),
    "date64": (pa.date64(), MOMENT.date()),
    **{f"timestamp_{unit}": (pa.timestamp(unit), MOMENT) for unit in ("s", "ms", "us", "ns")},
    "timestamp_tz": (pa.timestamp("us", tz="Asia/Tokyo"), MOMENT.replace(tzinfo=dt.UTC)),
    "time32": (pa.time32("s"), dt.time(12, 30)),
    "time64": (pa.time64("us"), dt.time(12, 30)),
    "duration": (pa.duration("ms"), dt.timedelta(seconds=1.5)),
    "null": (pa.null(), None),
}
KNOWN = {"time32": "12:30:00", "time64": "12:30:00.000000", "duration": 1.5}


def _types():
    for name, (kind, value) in SCALARS.items():
        yield name, pa.array([value, None], kind), KNOWN.get(name, value)
        if name != "null":
            yield f"dictionary<{name}>", pa.array([value, None], kind).dictionary_encode, KNOWN.get(name, value)
        for list_name, wrap in LISTS.items() if name in IN_LISTS else ():
            yield f"{list_name}<{name}>", pa.array([[value], None], wrap(kind)), [KNOWN.get(name, value)]
    text = pa.array(["x", None])
    yield "run_end", lambda: pa.compute.run_end_encode(text), "x"
    yield "list<dictionary>", lambda: _of_lists(text.slice(0, 1).dictionary_encode()), ["x"]
    yield "list<list>", pa.array([[[1]], None]), [[1]]
    identity = uuid.UUID(int=1)
    yield "uuid", lambda: pa.array([identity.bytes, None], pa.uuid()), identity.bytes
    yield "bool8", lambda: pa.array([1, None], pa.int8()).cast(pa.bool8()), True
    yield "json", lambda: pa.array(["{}", None], pa.json_()), "{}"
    yield "map", pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), [("k", 1)]
    yield "sparse_union", lambda: pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [pa.array([1, None])]), 1


IN_LISTS = ("int64", "float16", "string", "string_view", "binary_view", "timestamp_us", "null")
LISTS = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "list_view": pa.list_view,
    "large_list_view": pa.large_list_view,
    "fixed_list": lambda kind: pa.list_(kind, 1),
}


def _of_lists(values):
    return pa.ListArray.from_arrays(pa.array([0, None, 1], pa.int32()), values)


CASES = [pytest.param(array, expected, id=name) for name, array, expected in _types()]
PLAIN = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_large_string, pa.types.is_binary),
    *(pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_decimal, pa.types.is_temporal),
    *(pa.types.is_null, pa.types.is_map, pa.types.is_union),
)


def _made(array):
    try:
        return array() if callable(array) else array
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        pytest.skip(f"Arrow cannot make it: {error}")


def _is_plain(kind):
    if pa.types.is_large_list(kind):
        return _is_plain(kind.value_type)
    return any(check(kind) for check in PLAIN)


@pytest.mark.parametrize(("array", "expected"), CASES)
def test_every_type_becomes_plain_with_the_same_values(array, expected):
    array = _made(array)
    for part in (array, array.slice(1), array.slice(0, 0), pa.concat_arrays([array.slice(1), array.slice(0, 1)])):
        plain = plain_array(pa.chunked_array([part]))
        assert _is_plain(plain.type)
        assert len(plain) == len(part)
        assert all(value in (None, expected) for value in plain.to_pylist())
    assert plain_array(pa.chunked_array([array])).to_pylist() == [expected, None]


KINDS = ("id", "label", "flag", "categorical", "multi_categorical", "numeric", "text", "timestamp")


@pytest.mark.parametrize(("array", "expected"), CASES)
def test_every_type_in_parquet_is_parsed_or_refused_by_name(tmp_path, array, expected):
    path = tmp_path / "x.parquet"
    try:
        pq.write_table(pa.table({"x": _made(array)}), path)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        pytest.skip("Parquet cannot hold it")
    try:
        values = read_source(path, TableConfig(path=str(path)), ["x"]).table["x"].combine_chunks()
    except DataError as error:
        values, problem = None, str(error)
        assert problem.startswith(f"{path}: column x: found the type ")
    for kind in KINDS if values is not None else ():
        with suppress(Unfit):  # ingest names the column: the next test
            assert len(parse(values, Role("x", "x", kind)).values) == 2


def test_a_type_without_a_plain_form_is_refused():
    with pytest.raises(UnreadableTypeError, match="calendar intervals have no length"):
        plain_array(pa.array([pa.MonthDayNano([1, 2, 3])]))


def test_ingest_names_the_column_of_a_type_that_a_kind_cannot_read(tmp_path):
    pq.write_table(pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1], "x": [[1]]}), tmp_path / "e.parquet")
    config = {"interactions": {"path": str(tmp_path / "e.parquet"), "context": {"x": "numeric"}}}
    with pytest.raises(DataError, match=r"e\.parquet: column x: found the type large_list<.*, expected numbers"):
        ingest(DataConfig.model_validate(config), tmp_path / "out")


def test_fields_of_nested_records_are_columns_by_dotted_name(tmp_path):
    rows = [{"style": {"color": "red", "size": {"eu": 42}}, "a.b": 1}, {"style": None, "a.b": None}]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    config = TableConfig(path=str(path))
    names = column_names(path, config)
    assert names == ["style.color", "style.size.eu", "a.b"]
    assert read_source(path, config, names).table.to_pylist() == [
        {"style.color": "red", "style.size.eu": 42, "a.b": 1},
        dict.fromkeys(names),
    ]
