"""Every Arrow type as every kind of column, and one meaning of a value in whatever type it comes."""

import json
import runpy
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys.data.columns import ColumnTypeError, Kind, Role, parse
from recsys.data.config import NULL_VALUES, ColumnKind, DataConfig
from recsys.data.tables import KIND_TYPES
from recsys.data.values import expected_form, read_ids, read_values, role_from_json, role_to_json

_GENERATOR = runpy.run_path(str(Path(__file__).with_name("arrow_types.py")))
TYPES = _GENERATOR["arrow_types"]()
variants = _GENERATOR["variants"]
KINDS = [kind for part in get_args(Kind) for kind in (get_args(part) or [part])]

WHOLE = {name for name in TYPES if name.startswith(("int", "uint", "decimal", "dictionary<int", "run end<int"))}
WHOLE -= {"interval"}
NUMBERS = WHOLE | {"float16", "float", "double", "null"}
TEXTS = {name for name in TYPES if name.split("[")[0] in ("string", "large_string", "string_view", "uuid", "null")}
TEXTS |= {name for name in TYPES if "binary" in name and not name.startswith("interval")}
WORDS = TEXTS | {"dictionary<string>", "run end<string>"}
TEXTS = WORDS | {name for name in TYPES if name.startswith(("time32", "time64"))}  # a time of day is text
DAYS = {"date32", "date64"}
SPANS = {name for name in TYPES if name.startswith("duration")}  # read as seconds
LISTS = {name for name in TYPES if "list" in name} - {"list<list>", "list<struct>"}
FLAT = NUMBERS | TEXTS | DAYS | SPANS | {"bool"}
READ = {
    "id": NUMBERS | SPANS | TEXTS,
    "label": NUMBERS | SPANS | TEXTS | {"bool"},
    "flag": NUMBERS | SPANS | TEXTS | {"bool"},
    "position": NUMBERS | SPANS | TEXTS,
    "propensity": NUMBERS | SPANS | TEXTS,
    "window": FLAT,
    "categorical": FLAT,
    "multi_categorical": FLAT | LISTS,
    "numeric": NUMBERS | SPANS | TEXTS | {"bool"},
    "text": FLAT,
    "timestamp": NUMBERS | SPANS | TEXTS | DAYS | {name for name in TYPES if name.startswith("timestamp")},
}
"""Which types each kind reads: a cell may still not fit, and is rejected with its row. All others are refused."""


def test_every_arrow_type_is_there():
    """All ids that pyarrow knows, but unions and two intervals that it cannot make arrays of."""
    seen, todo = set(), [column.type for column in TYPES.values()]
    while todo:
        kind = todo.pop()
        seen.add(kind.id)
        todo += [kind.value_type] if pa.types.is_dictionary(kind) else []
    every = {name: value for name, value in vars(pa.lib).items() if name.startswith("Type_")}
    without = {"Type_SPARSE_UNION", "Type_DENSE_UNION", "Type_INTERVAL_MONTHS", "Type_INTERVAL_DAY_TIME"}
    assert {name for name, value in every.items() if value not in seen} == without


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_read_or_refused_by_name(kind):
    for name, column in TYPES.items():
        for variant, values in variants(column).items():
            if name == "not utf-8" and variant in ("all null", "empty"):
                continue  # no different from other bytes
            if name not in READ[kind]:
                with pytest.raises(ColumnTypeError, match=r"found (the type|bytes that are not UTF-8).*, expected \w+"):
                    parse(values, Role("x", "x", kind))
                continue
            parsed = parse(values, Role("x", "x", kind))
            parsed.values.validate(full=True)
            assert len(parsed.values) == len(values), (name, variant)
            assert all(mask.shape == (len(values),) for mask in parsed.bad.values())
            if variant == "all null":
                assert parsed.values.null_count == len(values)


@pytest.mark.parametrize("kind", sorted(KIND_TYPES))
def test_features_have_one_canonical_type(kind):
    found = {parse(TYPES[name], Role("x", "x", kind)).values.type for name in READ[kind]}
    assert found == {KIND_TYPES[kind]}


def canonical(column, kind, **settings):
    return parse(column, Role("x", "x", kind, **settings)).values.to_pylist()


@pytest.mark.parametrize("name", sorted(WHOLE | {"float16", "float", "double"}))
def test_whole_numbers_are_one_value_in_every_type(name):
    numbers = TYPES[name].to_pylist()
    texts = [str(int(number)) for number in numbers]
    assert canonical(TYPES[name], "id") == canonical(TYPES[name], "categorical") == texts
    assert canonical(TYPES[name], "numeric") == [int(number) for number in numbers]
    assert canonical(TYPES[name], "multi_categorical") == [[text] for text in texts]


@pytest.mark.parametrize("name", sorted(WORDS - {"null", "uuid", "binary[16]", "not utf-8", "run end<string>"}))
def test_text_is_one_value_in_every_type(name):
    words = _GENERATOR["WORDS"]
    assert canonical(TYPES[name], "id") == canonical(TYPES[name], "categorical") == words
    assert canonical(TYPES[name], "multi_categorical", separator=" ") == [word.split() for word in words]


@pytest.mark.parametrize("name", sorted(n for n in TYPES if n.startswith("timestamp") and "Tokyo" not in n))
def test_moments_are_one_value_in_every_type(name):
    moments = [moment.replace(tzinfo=UTC) for moment in _GENERATOR["MOMENTS"]]
    assert canonical(TYPES[name], "timestamp") == moments


def test_moments_no_calendar_has_are_bad_rows_and_wrap_nowhere():
    column = pa.array([1_709_210_096, 2**62, -(2**62)], pa.timestamp("s"))
    parsed = parse(column, Role("t", "t", "timestamp"))
    assert parsed.values.to_pylist() == [datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC), None, None]
    assert [mask.tolist() for mask in parsed.bad.values()] == [[False, True, True]]


# --- one value, however it comes: Parquet, CSV, JSON -----------------------------------------------------------------

SMALL = st.integers(-(2**53) + 1, 2**53 - 1)
WORD = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), FLOAT, WORD, st.sampled_from(NULL_VALUES))


def typed(value):
    """A column of the narrowest Arrow type, as a Parquet file has it."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return pa.array([Decimal(value)])
    return pa.array([value])


def as_csv(value):
    """What pandas and the csv module write."""
    return pa.array([None if value is None else str(value)], pa.large_string())


def as_request(value, role):
    return read_values([json.loads(json.dumps(value))], role).values.to_pylist()


def test_what_one_category_is():
    one = [5, 5.0, "5", "5.0", " 5 ", Decimal("5.00"), np.int64(5), np.float32(5)]
    assert read_values(one, Role("x", "x", "categorical", settled=True)).values.to_pylist() == ["5"] * len(one)
    assert (
        read_values([True, "true", "True", " TRUE "], Role("x", "x", "categorical")).values.to_pylist() == ["true"] * 4
    )
    others = ["05", "5.50", 5.5, "1e5", -0.0, "-0", 2**53 + 1, str(2**64), "NA", float("nan"), None, ""]
    expected = ["05", "5.50", "5.5", "1e5", "0", "0", str(2**53 + 1), str(2**64), None, None, None, None]
    assert read_values(others, Role("x", "x", "categorical", settled=True)).values.to_pylist() == expected


@settings(max_examples=150, deadline=None)
@given(value=SCALAR)
@example(False).via("an unseen category in the request, 0 in the model")
@example(2**53 + 1)
@example(5.0)
@example("05")
@example("\u2003x\u00a0")
def test_a_category_is_the_same_in_every_format(value):
    whole_float = isinstance(value, float) and (abs(value) >= 2**53 or not value.is_integer())
    parsed = parse(typed(value), Role("x", "x", "categorical"))
    assert as_request(value, parsed.role) == parsed.values.to_pylist()
    # A float has many ways to be written, and a CSV file that holds another one than the shortest means that text.
    if not whole_float:
        assert parse(as_csv(value), Role("x", "x", "categorical")).values.to_pylist() == parsed.values.to_pylist()


@settings(max_examples=150, deadline=None)
@given(value=st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), FLOAT, FLOAT.map(str), SMALL.map(str)))
@example(np.float32(0.1).item())
def test_a_number_is_the_same_in_every_format(value):
    parsed = parse(typed(value), Role("x", "x", "numeric"))
    assert as_request(value, parsed.role) == parsed.values.to_pylist()
    assert canonical(as_csv(value), "numeric") == parsed.values.to_pylist()
    assert parsed.values.to_pylist() == [None if value is None else float(value)]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.decimal128(10, 3), pa.decimal256(50, 9)])
@pytest.mark.parametrize("number", ["0.1", "2.675", "-7.25", "3"])
def test_a_number_is_what_its_type_writes(kind, number):
    """Not the float64 that a float32 of .1 is nearest to: a request could never send that."""
    value = Decimal(number) if pa.types.is_decimal(kind) else kind.to_pandas_dtype()(number)
    expected = float(number) if kind != pa.float16() else float(str(value))
    assert canonical(pa.array([value], kind), "numeric") == [expected]
    assert canonical(pa.array([value], kind), "categorical") == [np.format_float_positional(expected, trim="-")]


@settings(max_examples=80, deadline=None)
@given(values=st.lists(st.one_of(WORD, SMALL, st.booleans(), st.floats(-1e6, 1e6)), max_size=4))
def test_lists_are_read_as_their_values(values):
    role = Role("x", "x", "multi_categorical", settled=True)
    alone = read_values(values, replace(role, kind="categorical")).values.to_pylist()
    expected = [value for value in alone if value is not None]
    assert read_values([values, None, "a b"], role).values.to_pylist() == [expected, None, ["a", "b"]]
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    assert as_request(numbers, role) == canonical(pa.array([numbers], pa.list_(pa.float64())), "multi_categorical")


FORMS = {
    "iso": lambda m: m.isoformat(),
    "blank": lambda m: m.strftime("%Y-%m-%d %H:%M:%S") if m.year > 999 else m.isoformat(),
    "dots": lambda m: m.strftime("%d.%m.%Y %H:%M:%S"),
    "month first": lambda m: m.strftime("%m/%d/%Y %H:%M:%S"),
    "s": lambda m: int(m.timestamp()),
    "ms": lambda m: int(m.timestamp()) * 1000,
    "float s": lambda m: float(int(m.timestamp())),
    "ns": lambda m: int(m.timestamp()) * 10**9,
    "yyyymmddhhmmss": lambda m: int(m.strftime("%Y%m%d%H%M%S")),
}
OUR_TIME = st.datetimes(datetime(1971, 1, 2), datetime(2100, 12, 30), timezones=st.just(UTC))


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=8, deadline=None)
@given(moments=st.lists(OUR_TIME.map(lambda m: m.replace(microsecond=0)), min_size=1, max_size=4))
def test_a_time_is_the_same_alone_in_a_request_as_in_its_column(form, moments):
    """Whatever form the column has. ISO text is read beside every other form."""
    column = [FORMS[form](moment) for moment in [*moments, datetime(2024, 12, 31, tzinfo=UTC)]]
    for raw in (pa.array(column), pa.array([str(cell) for cell in column], pa.large_string())):
        role = parse(raw, Role("t", "t", "timestamp")).role
        saved = role_from_json("t", json.loads(json.dumps(role_to_json(role))))
        for cell, moment in zip(column, moments, strict=False):
            assert as_request(cell, saved) == [moment]
            assert as_request(moment.isoformat(), saved) == [moment]


def test_a_time_of_another_unit_than_the_columns_is_refused():
    role = parse(pa.array([1_709_210_096_789]), Role("t", "t", "timestamp")).role
    assert (role.unit, role.guessed) == ("ms", True)
    parsed = read_values([1_709_210_096], role)
    assert parsed.values.to_pylist() == [None]
    assert any(mask.any() for mask in parsed.bad.values())


def test_numbers_for_a_column_of_text_say_their_unit_by_their_size():
    role = parse(pa.array(["2024-02-29T12:34:56Z"]), Role("t", "t", "timestamp")).role
    moment = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
    numbers = [1_709_210_096, 1_709_210_096_000, 1_709_210_096_000_000, 20240229123456, "1709210096", moment]
    assert read_values(numbers, role).values.to_pylist() == [moment] * len(numbers)
    assert read_values(["29.02.2024 12:34:56", "Feb 29, 2024 12:34:56"], role).values.to_pylist() == [moment] * 2
    with pytest.raises(ColumnTypeError, match="one day or another"):
        read_values(["01/02/2024"], role)
    assert read_values([45254, True, "soon", 1e300], role).values.null_count == 4


@pytest.mark.parametrize("value", [{"a": 1}, object(), b"x", [["a"]], [{"a": 1}]])
@pytest.mark.parametrize("kind", get_args(ColumnKind))
def test_what_is_no_value_is_refused(kind, value):
    with pytest.raises(ColumnTypeError, match="expected text, a number, true, false or null"):
        read_values(["x", value], Role("x", "x", kind, settled=True))


@pytest.mark.parametrize("kind", [kind for kind in get_args(ColumnKind) if kind != "multi_categorical"])
def test_a_list_is_refused_where_one_value_stands(kind):
    with pytest.raises(ColumnTypeError):
        read_values([["a"]], Role("x", "x", kind, settled=True))


def test_half_a_surrogate_pair_is_an_unknown_value_not_a_failure():
    assert read_values(["\ud800"], Role("x", "x", "categorical", settled=True)).values.to_pylist() == ["?"]


def test_ids_of_a_request_follow_the_rule_of_their_column():
    strict = parse(pa.array(["1.0", "1.5"]), Role("id", "id", "id")).role
    loose = parse(pa.array(["1.0", "2"]), Role("id", "id", "id")).role
    assert read_ids(["1.0", " 1.5 ", "NULL", 7], strict) == ["1.0", "1.5", None, "7"]
    assert read_ids(["1.0", "1.5", None, 7.0], loose) == ["1", "1.5", None, "7"]


def test_one_value_is_read_as_among_all_others():
    """No reader looks at the rest of the column once the role is settled."""
    columns = {"numeric": ["1", "x", "True", None], "categorical": ["5.0", "TRUE", " a ", "null"], "id": ["1.0", "2"]}
    for kind, cells in columns.items():
        whole = parse(pa.array(cells, pa.large_string()), Role("x", "x", kind))
        alone = [parse(pa.array([cell], pa.large_string()), whole.role).values[0].as_py() for cell in cells]
        assert alone == whole.values.to_pylist()


def test_every_kind_says_what_it_takes():
    forms = {expected_form(Role("x", "x", kind, unit="ms")) for kind in get_args(ColumnKind)}
    assert len(forms) == len(get_args(ColumnKind))
    assert "milliseconds since 1970" in expected_form(Role("x", "x", "timestamp", unit="ms"))
    assert "%d.%m.%Y" in expected_form(Role("x", "x", "timestamp", unit="text", form="%d.%m.%Y"))


def test_the_default_null_values_are_those_of_the_settings():
    log = DataConfig.model_validate({"interactions": {"path": "x.csv"}})
    assert log.null_values == Role("x", "x", "id").null_values == NULL_VALUES
