import gzip
import hashlib
import runpy
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.data.columns import Role, parse
from recsys.data.config import NULL_VALUES, DataConfig
from recsys.data.ingest import ingest
from recsys.data.tables import Dataset
from recsys.errors import DataError

PLAIN = "user_id,item_id,rating,timestamp\n"


class Place:
    """A folder with sources, and what ingest makes of them."""

    def __init__(self, folder):
        self.folder, self.out = folder, folder / "out"

    def write(self, name, content, encoding="utf-8"):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    def ingest(self, events="e.csv", users=None, items=None, log=None, **settings):
        config = {"interactions": {"path": str(self.folder / events), **(log or {})}, **settings}
        if users is not None:
            config["users"] = {"path": str(self.folder / "users.csv"), "columns": users}
        if items is not None:
            config["items"] = {"path": str(self.folder / "items.csv"), **items}
        self.report = ingest(DataConfig.model_validate(config), self.out)
        return Dataset.load(self.out)

    def rejected(self):
        rows = pq.read_table(self.out / "rejected.parquet").to_pylist()
        return [(row["line"], row["column"], row["value"], row["reason"]) for row in rows]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def column(table, name):
    return table[name].to_pylist()


def seconds(moment):
    return datetime.fromtimestamp(moment, UTC)


# --- the plain way ---------------------------------------------------------------------------------------------------


def test_events_are_sorted_by_time_then_file_row(place):
    place.write("e.csv", PLAIN + "u1,i1,5,300\nu2,i2,4,100\nu1,i3,3,300\nu3,i4,1,100\n")
    events = place.ingest(log={"labels": ["rating"]}).interactions
    assert column(events, "item_id") == ["i2", "i4", "i1", "i3"]
    assert column(events, "row") == [1, 3, 0, 2]
    assert column(events, "timestamp") == [seconds(100), seconds(100), seconds(300), seconds(300)]
    assert column(events, "rating") == [4, 1, 5, 3]
    assert events.schema.field("user_id").type == pa.large_string()
    assert events.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert events.schema.field("rating").type == pa.float32()
    assert place.rejected() == []


@pytest.mark.parametrize("order", ["row", "none"])
def test_without_time_events_stay_in_row_order(place, order):
    place.write("e.csv", "user_id,item_id\nb,2\na,1\n")
    events = place.ingest(order=order).interactions
    assert events.column_names == ["user_id", "item_id", "row"]
    assert column(events, "row") == [0, 1]


def test_row_order_keeps_a_time_the_file_has(place):
    place.write("e.csv", PLAIN + "a,1,1,20\na,2,1,10\n")
    events = place.ingest(order="row").interactions
    assert column(events, "timestamp") == [seconds(20), seconds(10)]


def test_a_time_that_was_named_must_be_there_whatever_the_order(place):
    place.write("e.csv", "user_id,item_id\nb,2\n")
    with pytest.raises(DataError, match=r"e\.csv:1: column when: found only user_id, item_id, expected when"):
        place.ingest(order="row", log={"timestamp": "when"})


def test_every_source_row_is_accounted_for(place):
    source = place.write("e.csv", PLAIN + "u,i,1,1\nu,i,2,1\nu,j,x,2\nu,k,3\n")
    place.ingest(log={"labels": ["rating"]}, max_reject_share=0.5)
    report = place.report.tables["interactions"]
    assert (report.read, report.kept, report.rejected, report.duplicates) == (4, 1, 2, 1)
    assert report.sources[0].sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert place.report.to_dict()["tables"]["interactions"]["sources"][0]["rows"] == 4


def test_ingest_twice_gives_the_same_bytes(place):
    place.write("e.csv", PLAIN + "u1,i1,5,300\nu2,i2,x,100\n")
    runs = []
    for _ in range(2):
        place.ingest(log={"labels": ["rating"]}, max_reject_share=1)
        runs.append([(path.name, path.read_bytes()) for path in sorted(place.out.iterdir())])
    assert runs[0] == runs[1]


def test_all_optional_columns_of_events(place):
    place.write(
        "e.csv",
        "user_id,item_id,timestamp,req,shown,pos,prop,device,tags\n"
        "u,i,1,r1,1,0,0.5,phone,a b\n"
        "u,j,2,r1,false,3,1,tablet,\n"
        "u,k,3,,,,,,c\n"
        "u,l,4,r2,maybe,1,0.5,,\n"
        "u,m,5,r2,1,-1,0.5,,\n"
        "u,n,6,r2,1,1.5,0.5,,\n"
        "u,o,7,r2,1,1,0,,\n",
    )
    log = {"request_id": "req", "exposed": "shown", "position": "pos", "propensity": "prop"}
    log["context"] = {"device": "categorical", "tags": "multi_categorical"}
    events = place.ingest(log=log, max_reject_share=1).interactions
    assert events.schema.field("exposed").type == pa.bool_()
    assert events.schema.field("position").type == pa.int32()
    assert events.schema.field("propensity").type == pa.float32()
    assert events.select(["request_id", "exposed", "position", "propensity", "device", "tags"]).to_pylist() == [
        {"request_id": "r1", "exposed": True, "position": 0, "propensity": 0.5, "device": "phone", "tags": ["a", "b"]},
        {"request_id": "r1", "exposed": False, "position": 3, "propensity": 1.0, "device": "tablet", "tags": None},
        {"request_id": None, "exposed": None, "position": None, "propensity": None, "device": None, "tags": ["c"]},
    ]
    assert place.rejected() == [
        (5, "shown", "maybe", "expected 0 or 1"),
        (6, "pos", "-1", "expected a whole number from 0"),
        (7, "pos", "1.5", "expected a whole number from 0"),
        (8, "prop", "0", "expected a probability above 0"),
    ]


def test_time_as_context_is_the_time_column(place):
    place.write("e.csv", PLAIN + "u,i,1,1\n")
    events = place.ingest(log={"context": {"timestamp": "timestamp"}}).interactions
    assert events.column_names == ["user_id", "item_id", "timestamp", "row"]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_sorted_order_without_hidden_and_marker_files(place):
    place.write("log/b.csv", PLAIN + "u,b,1,5\n")
    place.write("log/a.csv", PLAIN + "u,a,1,5\n")
    place.write("log/day=2/c.csv", PLAIN + "u,c,1,5\n")
    place.write("log/_SUCCESS", "")
    place.write("log/.hidden.csv", "nonsense")
    place.write("log/_temporary/d.csv", "nonsense")
    place.write("log/README.md", "about")
    events = place.ingest("log").interactions
    assert column(events, "item_id") == ["a", "b", "c"]
    assert column(events, "row") == [0, 1, 2]


def test_a_pattern_is_read_in_sorted_order(place):
    for name in ("2.csv", "1.csv"):
        place.write(name, PLAIN + f"u,{name},1,5\n")
    assert column(place.ingest("?.csv").interactions, "item_id") == ["1.csv", "2.csv"]


def test_rejects_name_their_own_file_and_line(place):
    place.write("log/a.csv", PLAIN + "u,a,1,5\nu,b,x,5\n")
    place.write("log/b.csv", PLAIN + "u,c,1,5\nu,d,1,5\nu,e,y,5\n")
    place.ingest("log", log={"labels": ["rating"]}, max_reject_share=1)
    rows = pq.read_table(place.out / "rejected.parquet").to_pylist()
    assert [(row["file"].rsplit("/")[-1], row["line"], row["value"]) for row in rows] == [
        ("a.csv", 3, "x"),
        ("b.csv", 4, "y"),
    ]


@pytest.mark.parametrize(
    ("name", "log", "separator"),
    [
        ("e.tsv", {}, "\t"),
        ("e.csv", {}, ","),
        ("e.csv", {"delimiter": ";"}, ";"),
        ("e.inter", {"format": "tsv"}, "\t"),
        ("e.log", {"delimiter": "|"}, "|"),
    ],
)
def test_the_delimiter_follows_the_extension_unless_set(place, name, log, separator):
    place.write(name, "user_id,item_id,timestamp\nu 1,i,5\n".replace(",", separator))
    assert column(place.ingest(name, log=log).interactions, "user_id") == ["u 1"]


def test_compressed_csv(place):
    place.write("e.csv.gz", gzip.compress((PLAIN + "u,i,1,5\nu,j,x,5\n").encode()))
    assert column(place.ingest("e.csv.gz", log={"labels": ["rating"]}, max_reject_share=1).interactions, "item_id") == [
        "i"
    ]
    assert place.rejected() == [(3, "rating", "x", "expected a finite number")]


def test_parquet_and_csv_parts_of_one_table_need_the_same_types(place):
    place.write("log/a.parquet", pa.table({"user_id": [1], "item_id": ["a"], "timestamp": [5]}))
    place.write("log/b.csv", "user_id,item_id,timestamp\n1,a,5\n")
    with pytest.raises(DataError, match=r"b\.csv: column user_id: found the type large_string, expected int64 as in"):
        place.ingest("log")


def test_parquet_parts_may_differ_in_width_and_in_nulls(place):
    place.write("log/a.parquet", pa.table({"user_id": pa.array([1], pa.int32()), "item_id": ["a"], "timestamp": [5]}))
    place.write("log/b.parquet", pa.table({"user_id": [2**40], "item_id": pa.array(["b"]), "timestamp": [6]}))
    assert column(place.ingest("log").interactions, "user_id") == ["1", str(2**40)]


# --- bad files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("other.csv", PLAIN, r"e\.csv: table interactions: found no such file, expected a file, a folder of files"),
        ("e.csv", "", r"e\.csv: found an empty file, expected a header and rows"),
        ("e.csv", PLAIN, r"e\.csv: table interactions: found no rows, expected at least one"),
        ("e.csv", "userid,item_id,timestamp\nu,i,1\n", r"e\.csv:1: column user_id: found only .*did you mean userid\?"),
        ("e.csv", "user_id,item_id,item_id,timestamp\nu,i,i,1\n", r"e\.csv:1: column item_id: found 2 of that name"),
        ("e.csv", b"user_id,\xectem\nu,\xc3\x9cn\xc3\xaf\n", r"e\.csv:1: found bytes that are not UTF-8"),
        ("e.csv", "user_id,ìtem\n".encode("latin-1"), "found only user_id, ìtem, expected item_id"),
        ("e.csv/readme.md", "", r"e\.csv: table interactions: found a folder without data files"),
    ],
)
def test_a_bad_file_stops_the_run(place, name, content, message):
    place.write(name, content)
    with pytest.raises(DataError, match=message):
        place.ingest()
    assert not place.out.exists()


@pytest.mark.parametrize("name", ["e.parquet", "e.csv.gz"])
def test_a_corrupt_file_is_named(place, name):
    place.write(name, b"PAR1 not at all PAR1")
    expected = "Parquet" if name == "e.parquet" else "CSV"
    with pytest.raises(DataError, match=rf"{name}: found a file that cannot be read .*, expected {expected}"):
        place.ingest(name)


def test_an_unknown_extension_asks_for_the_format(place):
    place.write("e.dat", PLAIN)
    with pytest.raises(DataError, match=r"e\.dat: found the extension '\.dat', expected .*; or set format: csv, tsv"):
        place.ingest("e.dat")


def test_an_empty_parquet_table(place):
    place.write("e.parquet", pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1]}).slice(0, 0))
    with pytest.raises(DataError, match="found no rows, expected at least one"):
        place.ingest("e.parquet")


def test_a_missing_parquet_column(place):
    place.write("e.parquet", pa.table({"user_id": ["u"], "items_id": ["i"], "timestamp": [1]}))
    with pytest.raises(DataError, match=r"e\.parquet: column item_id: found only .*did you mean items_id\?"):
        place.ingest("e.parquet")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "user_id",
            [1.5],
            r"column user_id: found 1\.5 of type double, expected ids as text or integers \(a float",
        ),
        ("user_id", [2.0**53], r"column user_id: found 9007199254740992\.0 of type double, expected ids as text or"),
        (
            "user_id",
            [b"\xff"],
            r"column user_id: found bytes that are not UTF-8 \(of type large_binary\), expected ids",
        ),
        ("user_id", [[1]], r"column user_id: found the type (large_)?list<.*, expected ids as text or integers"),
        ("rating", [[1.0]], r"column rating: found the type (large_)?list<.*, expected numbers"),
        ("rating", [datetime(2024, 1, 1)], r"column rating: found the type timestamp.*, expected numbers"),
        ("timestamp", [{"a": 1}], r"column timestamp: found only .*; did you mean timestamp\.a\?"),
        ("device", [{"a": 1}], r"column device: found only .*; did you mean device\.a\?"),
        ("shown", [[1]], r"column shown: found the type (large_)?list<.*, expected 0 and 1, or true and false"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(place, name, values, message):
    row = {"user_id": ["u"], "item_id": ["i"], "timestamp": [1], "rating": [1.0], "device": ["x"], "shown": [True]}
    place.write("e.parquet", pa.table({**row, name: values}))
    log = {"labels": ["rating"], "context": {"device": "categorical"}, "exposed": "shown"}
    with pytest.raises(DataError, match=r"e\.parquet: " + message):
        place.ingest("e.parquet", log=log)


def test_too_many_rejects_stop_the_run_and_name_the_first(place):
    rows = "".join(f"u,i{n},{'x' if n % 10 == 0 else n},{n}\n" for n in range(100))
    place.write("e.csv", PLAIN + rows)
    with pytest.raises(DataError) as raised:
        place.ingest(log={"labels": ["rating"]})
    message = str(raised.value)
    assert (
        "table interactions: found 10 of 100 rows rejected, expected at most 1.00% (data.max_reject_share)" in message
    )
    assert "e.csv:2: column rating: found 'x', expected a finite number" in message
    assert message.count("found 'x'") == 5
    assert not place.out.exists()


def test_the_limit_itself_is_allowed(place):
    place.write("e.csv", PLAIN + "".join(f"u,i{n},{'x' if n == 0 else n},{n}\n" for n in range(100)))
    place.ingest(log={"labels": ["rating"]}, max_reject_share=0.01)
    assert place.report.tables["interactions"].rejected == 1


def test_nothing_left_is_an_error_even_when_all_may_be_rejected(place):
    place.write("e.csv", PLAIN + "u,,1,1\n")
    with pytest.raises(DataError, match="found no row that could be kept, expected at least one"):
        place.ingest(max_reject_share=1)


# --- bad rows --------------------------------------------------------------------------------------------------------


def test_each_bad_row_is_rejected_with_its_line_and_the_first_thing_wrong(place):
    place.write(
        "e.csv",
        PLAIN
        + ",i,1,10\n"  # line 2
        + "u,,1,10\n"
        + "u,i,,10\n"
        + "u,i,nan,10\n"
        + "u,i,-inf,10\n"
        + "u,i,1e300,10\n"  # line 7: infinite as a float32
        + "u,i,five,10\n"
        + "u,i,1,\n"
        + "u,i,1,soon\n"
        + "\n"
        + "u,i,1\n"  # line 12
        + "u,i,1,10,11\n"
        + ",,x,y\n"
        + "u,good,1,10\n",
    )
    events = place.ingest(log={"labels": ["rating"]}, max_reject_share=1).interactions
    assert column(events, "item_id") == ["good"]
    number, time = "expected a finite number", "expected a date and time"
    assert place.rejected() == [
        (2, "user_id", None, "expected an id"),
        (3, "item_id", None, "expected an id"),
        (4, "rating", None, number),
        (5, "rating", "nan", number),
        (6, "rating", "-inf", number),
        (7, "rating", "1e300", number),
        (8, "rating", "five", number),
        (9, "timestamp", None, time),
        (10, "timestamp", "soon", time),
        (12, None, "u,i,1", "expected 4 columns, found 3"),
        (13, None, "u,i,1,10,11", "expected 4 columns, found 5"),
        (14, "user_id", None, "expected an id"),
    ]


def test_line_breaks_in_quoted_cells_do_not_shift_lines(place):
    place.write("e.csv", PLAIN + '"u\n1",i,1,1\nu,"j\r\nk",1,2\nu,5" disk,x,3\n')
    events = place.ingest(log={"labels": ["rating"]}, max_reject_share=1).interactions
    assert column(events, "user_id") == ["u\n1", "u"]
    assert column(events, "item_id") == ["i", "j\r\nk"]
    assert place.rejected() == [(6, "rating", "x", "expected a finite number")]


def test_rows_behind_a_quote_that_nothing_closes_count_as_rejected(place):
    place.write("e.csv", PLAIN + "u,i,1,1\n" + '"u,i,1,1\n' + "u,j,1,1\n" * 8)
    with pytest.raises(
        DataError, match=r"found 9 of 10 rows rejected(.|\n)*e\.csv:3.*over 9 lines \(a quote that noth"
    ):
        place.ingest()


def test_bytes_that_are_no_utf8_reject_their_row_alone(place):
    place.write("e.csv", PLAIN.encode() + b"u,i,1,1\nu,caf\xe9,1,2\nu,caf\xc3\xa9,1,3\n")
    events = place.ingest(max_reject_share=0.5).interactions
    assert column(events, "item_id") == ["i", "café"]
    assert column(events, "row") == [0, 2]
    assert place.rejected() == [(3, "item_id", "caf\\xe9", "expected UTF-8 text")]


def test_parquet_rejects_name_the_row(place):
    place.write("e.parquet", pa.table({"user_id": ["u", None, "u"], "item_id": [1, 2, 3], "timestamp": [1, 2, None]}))
    place.ingest("e.parquet", max_reject_share=1)
    assert place.rejected() == [
        (2, "user_id", None, "expected an id"),
        (3, "timestamp", None, "expected a date and time"),
    ]


# --- ids -------------------------------------------------------------------------------------------------------------

ODD_IDS = [
    "a b",
    'say "hi"',
    "a,b",
    "Ünïcødé",
    "用户",
    "пользователь",
    "🎬🍿",
    "007",
    "1e5",
    "5.50",
    "nana",
    "-",
]


ANY_ID = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    .map(str.strip)
    .filter(lambda text: text.upper() not in ("", *map(str.upper, NULL_VALUES)) and not text.endswith(".0"))
)


def test_odd_ids_survive(place):
    quoted = ['"' + name.replace('"', '""') + '"' for name in ODD_IDS]
    place.write("e.csv", "﻿" + PLAIN + "".join(f"{name},{name},1,{n}\n" for n, name in enumerate(quoted)))
    events = place.ingest().interactions
    assert column(events, "user_id") == ODD_IDS
    assert column(events, "item_id") == ODD_IDS


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(ANY_ID, min_size=1))
def test_any_text_is_an_id(place, ids):
    quoted = ['"' + name.replace('"', '""') + '"' for name in ids]
    place.write("e.csv", PLAIN + "".join(f"{name},i,1,{n}\n" for n, name in enumerate(quoted)))
    assert column(place.ingest().interactions, "user_id") == ids


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([2**53 + 1, 2**63 - 1]), [str(2**53 + 1), str(2**63 - 1)]),
        (pa.array([2**64 - 1, 0], pa.uint64()), [str(2**64 - 1), "0"]),
        (pa.array([-1, 5], pa.int8()), ["-1", "5"]),
        (pa.array([Decimal("12345678901234567890"), Decimal(1)]), ["12345678901234567890", "1"]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array(["x", "y"], pa.string_view()), ["x", "y"]),
        (pa.array([b"x", b"y"]), ["x", "y"]),
        (pa.array([12.0, 2.0**53 - 1]), ["12", str(2**53 - 1)]),
        (pa.array([12.0, 2.0**24 - 1], pa.float32()), ["12", str(2**24 - 1)]),
        (pa.array([Decimal("12.00"), Decimal("7.00")]), ["12", "7"]),
        (
            pa.array([UUID(int=5).bytes, UUID(int=2**127).bytes], pa.binary(16)),
            [str(UUID(int=5)), str(UUID(int=2**127))],
        ),
        (pa.array([UUID(int=5).bytes, UUID(int=6).bytes], pa.uuid()), [str(UUID(int=5)), str(UUID(int=6))]),
    ],
)
def test_ids_of_parquet_become_text_exactly(place, values, expected):
    place.write("e.parquet", pa.table({"user_id": values, "item_id": values, "timestamp": [1, 2]}))
    assert column(place.ingest("e.parquet").interactions, "user_id") == expected


NOTHING = ["", " ", "NULL", "null", "\\N", "NaN", "nan", "NA", "n/a", "#N/A", "<NA>", "None", "undefined", " NULL "]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_what_stands_for_a_missing_id_rejects_its_row_in_every_format(place, format):
    ids = [*NOTHING, "u", "nil"]
    rows = {"user_id": ids, "item_id": ["i"] * len(ids), "timestamp": [str(1709210096 + n) for n in range(len(ids))]}
    if format == "csv":
        lines = [",".join(row) for row in zip(*rows.values(), strict=True)]
        place.write("e.csv", "\n".join([",".join(rows), *lines, ""]))
    else:
        place.write("e.parquet", pa.table(rows))
    assert column(place.ingest(f"e.{format}", max_reject_share=1).interactions, "user_id") == ["u", "nil"]
    assert {row[3] for row in place.rejected()} == {"expected an id"}
    assert len(place.rejected()) == len(NOTHING)


def test_null_values_are_a_setting(place):
    place.write("e.csv", PLAIN + "none,i,1,1709210096\n,i,1,1709210097\nAnonymous,i,1,1709210098\nu,-,1,1709210099\n")
    place.write("users.csv", "user_id,job\nu,ANONYMOUS\nnone,-\n")
    dataset = place.ingest(users={"job": "categorical"}, null_values=["anonymous", "-"], max_reject_share=1)
    assert column(dataset.interactions, "user_id") == ["none"]
    assert [row[2] for row in place.rejected()] == [None, "Anonymous", "-"]
    assert column(dataset.users, "job") == [None, None]
    assert dataset.columns["user"]["job"]["null_values"] == ["anonymous", "-"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["12.0", "12", " 12.0 ", "7.00", "-3.0"], ["12", "12", "12", "7", "-3"]),
        (["12.0", "anonymous", "1e5"], ["12", "anonymous", "1e5"]),  # a word among numbers changes nothing
        (["1.0", "1.5", "1.50", "2"], ["1.0", "1.5", "1.50", "2"]),  # versions, not numbers turned into floats
        (["05", "05.0", "0.0", "-0.0", "."], ["05", "05.0", "0", "0", "."]),
    ],
)
def test_a_zero_fraction_is_no_part_of_an_id_unless_others_have_fractions(place, ids, expected):
    place.write("e.csv", PLAIN + "".join(f"{name},i{n},1,{1709210096 + n}\n" for n, name in enumerate(ids)))
    assert column(place.ingest().interactions, "user_id") == expected


def crowd(**counts):
    """Rows of 400 users with five events each, and of others with as many as said."""
    users = [f"u{n % 400}" for n in range(2000)] + [name for name, count in counts.items() for _ in range(count)]
    return PLAIN + "".join(f"{user},i{n % 97},1,{1709210096 + n}\n" for n, user in enumerate(users))


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        ({"unknown": 300}, ["'unknown' has 300 of 2,300 events"]),
        ({"unknown": 300, "guest": 200}, ["'unknown' has 300 of 2,500", "'guest' has 200 of 2,500"]),
        ({"unknown": 90}, []),  # under 5 % of the log
        ({"busy": 300, "busier": 301, "a": 60, "b": 61}, []),  # within 20 times of the next
        ({}, []),
    ],
)
def test_ids_with_far_more_events_than_any_other_are_named(place, counts, named):
    place.write("e.csv", crowd(**counts))
    place.ingest()
    warnings = place.report.warnings
    assert len(warnings) == len(named)
    for words, warning in zip(named, warnings, strict=True):
        assert words in warning
        assert "e.csv: column user_id: " in warning
        assert warning.endswith("if it stands for a missing id, add it to data.null_values")


def test_a_log_of_one_user_or_of_few_events_is_not_warned_of(place):
    place.write("e.csv", PLAIN + "".join(f"u,i{n},1,{1709210096 + n}\n" for n in range(1500)))
    place.ingest()
    assert place.report.warnings == ()
    place.write("e.csv", PLAIN + "".join(f"{'u' if n else 'v'},i{n},1,{1709210096 + n}\n" for n in range(1000)))
    place.ingest()
    assert place.report.warnings == ()


ARROW = runpy.run_path(str(Path(__file__).with_name("arrow_types.py")))


@pytest.mark.parametrize("kind", ["numeric", "multi_categorical"])
def test_a_parquet_column_of_any_type_is_read_or_named(place, kind):
    read = 0
    for name, values in ARROW["arrow_types"]().items():
        values = ARROW["variants"](values).get("nullable")
        if values is None or not ARROW["fits_parquet"](values):
            continue
        n = len(values)
        plain = {"user_id": list(range(n)), "item_id": list(range(n)), "timestamp": [1709210096] * n}
        place.write("e.parquet", pa.table({**plain, "x": values}))
        try:
            place.ingest("e.parquet", log={"context": {"x": kind}}, max_reject_share=1)
        except DataError as error:
            assert "e.parquet: column x: found " in str(error) or "rejected" in str(error), name  # noqa: PT017
        else:
            report = place.report.tables["interactions"]
            assert report.kept + report.rejected == n == len(place.rejected()) + report.kept
            read += 1
    assert read > 25


# --- time ------------------------------------------------------------------------------------------------------------

MOMENT = datetime(2024, 2, 29, 12, 34, 56, 789_000, UTC)
MICROS = 1_709_210_096_789_000


def times_of(place, cells, **log):
    rows = "".join(f'u,i{n},1,"{cell}"\n' for n, cell in enumerate(cells))
    place.write("e.csv", PLAIN + rows)
    events = place.ingest(log=log, max_reject_share=1, order="row").interactions
    return column(events, "timestamp")


@pytest.mark.parametrize(
    ("cell", "unit"),
    [
        (str(MICROS / 1e6), "s"),
        (str(MICROS // 1000), "ms"),
        (str(MICROS), "us"),
        (str(MICROS * 1000 + 999), "ns"),
        ("1.709210096789e9", "s"),
        ("2024-02-29T12:34:56.789Z", "text"),
        ("2024-02-29 12:34:56.789", "text"),
        ("2024-02-29 12:34:56.789 UTC", "text"),
        ("2024-02-29 14:34:56.789+02:00", "text"),
        (" 2024-02-29T12:34:56.789000000 ", "text"),
        ("29.02.2024 12:34:56.789", "text"),
        ("2024/02/29 12:34:56.789", "text"),
    ],
)
def test_a_moment_is_read_in_any_unit_guessed_or_told(place, cell, unit):
    assert times_of(place, [cell]) == [MOMENT]
    assert times_of(place, [cell], timestamp_unit=unit) == [MOMENT]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("20240229", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T12:34", datetime(2024, 2, 29, 12, 34, tzinfo=UTC)),
        ("Thu, 29 Feb 2024 12:34:56 GMT", datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)),
        ("29 Feb 2024", datetime(2024, 2, 29, tzinfo=UTC)),
        ("02/29/2024", datetime(2024, 2, 29, tzinfo=UTC)),
        ("29/02/2024 12:34", datetime(2024, 2, 29, 12, 34, tzinfo=UTC)),
    ],
)
def test_common_forms_of_dates(place, cell, expected):
    assert times_of(place, [cell], timestamp_unit="text") == [expected]


def test_one_day_or_another_is_refused_rather_than_guessed(place):
    with pytest.raises(DataError, match=r"column timestamp: found '01/02/2024', which is one day or another, expected"):
        times_of(place, ["01/02/2024", "03/04/2024"])


def test_one_cell_that_can_only_be_read_one_way_decides_for_the_column(place):
    assert times_of(place, ["01/02/2024", "31/12/2024"]) == [
        datetime(2024, 2, 1, tzinfo=UTC),
        datetime(2024, 12, 31, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["20240229", "20240301"], [datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)]),
        (["202402291234"], [datetime(2024, 2, 29, 12, 34, tzinfo=UTC)]),
        (["20240229123456", "20240229123457.0"], [datetime(2024, 2, 29, 12, 34, s, tzinfo=UTC) for s in (56, 57)]),
    ],
)
@pytest.mark.parametrize("type_", [pa.large_string(), pa.int64(), pa.float64()])
def test_dates_written_as_one_number_are_dates(place, cells, expected, type_):
    values = pa.array(cells) if type_ == pa.large_string() else pa.array([int(float(c)) for c in cells]).cast(type_)
    n = len(cells)
    place.write("e.parquet", pa.table({"user_id": ["u"] * n, "item_id": list("ab")[:n], "timestamp": values}))
    assert column(place.ingest("e.parquet").interactions, "timestamp") == expected


@pytest.mark.parametrize(
    ("cells", "looks"),
    [
        (["45254", "45255.5"], r"found 45254\.8, which looks like the date 2023-11-24 as a spreadsheet counts days"),
        (["2019", "2020"], r"found 2020, which looks like a year, expected a date"),
        (
            ["20231124172544123"],
            r"found 20231124172544124, which would .*the year 2611 as microseconds.*timestamp_unit",
        ),
        (["9000000000"], r"found 9000000000, which would be the year 2255 as seconds, the year 1970 as milliseconds"),
        (["20231340", "20231341"], None),  # no dates either: a clock of its own
    ],
)
def test_numbers_that_are_no_times_are_refused_with_what_they_look_like(place, cells, looks):
    if looks is None:
        assert times_of(place, cells) == [seconds(int(cell)) for cell in cells]
        return
    with pytest.raises(DataError, match=r"e\.csv: column timestamp: " + looks):
        times_of(place, cells)


@pytest.mark.parametrize(
    ("unit", "cell", "expected"),
    [
        ("excel", "45254", datetime(2023, 11, 24, tzinfo=UTC)),
        ("excel", "45254.5", datetime(2023, 11, 24, 12, tzinfo=UTC)),
        ("excel", "45254.726203703704", datetime(2023, 11, 24, 17, 25, 44, tzinfo=UTC)),
        ("yyyymmdd", "19300101", datetime(1930, 1, 1, tzinfo=UTC)),
        ("yyyymmddhhmm", "193001010102", datetime(1930, 1, 1, 1, 2, tzinfo=UTC)),
        ("yyyymmddhhmmss", "19300101010203", datetime(1930, 1, 1, 1, 2, 3, tzinfo=UTC)),
    ],
)
def test_units_of_dates_as_numbers(place, unit, cell, expected):
    bad = "20240230" if unit.startswith("yyyy") else "-1"
    assert times_of(place, [cell, bad, "2024-02-29"], timestamp_unit=unit) == [
        expected,
        datetime(2024, 2, 29, tzinfo=UTC),
    ]
    assert [row[2] for row in place.rejected()] == [bad]


@settings(max_examples=60, deadline=None)
@given(moment=st.datetimes(datetime(1971, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC)))
def test_every_day_of_our_time_is_told_from_a_count(moment):
    """The calendar of Python is the judge."""
    moment = moment.replace(microsecond=0)
    for unit, form in {"yyyymmdd": "%Y%m%d", "yyyymmddhhmm": "%Y%m%d%H%M", "yyyymmddhhmmss": "%Y%m%d%H%M%S"}.items():
        parsed = parse(pa.array([int(moment.strftime(form))]), Role("t", "t", "timestamp"))
        assert parsed.role.unit == unit
        assert parsed.values.to_pylist() == [datetime.strptime(moment.strftime(form), form).replace(tzinfo=UTC)]
    ticks = int(moment.timestamp())
    for unit, scale in {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.items():
        parsed = parse(pa.array([ticks * scale]), Role("t", "t", "timestamp"))
        assert parsed.values.to_pylist() == [moment]
        assert parsed.role.unit == unit


def test_a_guessed_unit_refuses_rows_outside_our_time_and_a_told_one_believes_them(place):
    cells = ["1709210096", "0", "32503680000", "-5", "1709210097"]
    assert times_of(place, cells) == [seconds(1709210096), seconds(1709210097)]
    assert [row[2:] for row in place.rejected()] == [
        (cell, "expected seconds since 1970, the unit of this column") for cell in ("0", "32503680000", "-5")
    ]
    assert len(times_of(place, cells, timestamp_unit="s")) == 5


def test_a_feature_may_be_of_any_time_but_not_of_another_unit(place):
    place.write("e.csv", PLAIN + "u,i,1,1709210096\n")
    place.write("items.csv", "item_id,out\na,-1262304000\nb,946684800\nc,0\nd,20240229\ne,946684800000\nf,1000000000\n")
    items = place.ingest(items={"columns": {"out": "timestamp"}}, max_reject_share=1).items
    assert column(items, "out") == [seconds(-1262304000), seconds(946684800), seconds(0), seconds(1000000000)]
    place.write("items.csv", "item_id,out\na,45254\nb,45255\n")
    items = place.ingest(items={"columns": {"out": {"kind": "timestamp", "unit": "excel"}}}).items
    assert column(items, "out")[0] == datetime(2023, 11, 24, tzinfo=UTC)


def test_the_unit_holds_for_the_whole_column_and_odd_rows_are_rejected(place):
    cells = ["1709210096", "1709210097", "1709210098000", "1709210099"]
    assert times_of(place, cells) == [seconds(int(cell)) for cell in (cells[0], cells[1], cells[3])]
    reason = "expected seconds since 1970, the unit of this column"
    assert place.rejected() == [(4, "timestamp", "1709210098000", reason)]


def test_seconds_among_milliseconds_are_rejected(place):
    assert times_of(place, ["1709210096789", "1709210096", "0", "1709210096789"]) == [MOMENT, MOMENT]
    assert [row[2] for row in place.rejected()] == ["1709210096", "0"]


def test_small_clocks_and_times_before_1970_are_seconds(place):
    assert times_of(place, ["0", "1", "-5"]) == [seconds(0), seconds(1), datetime(1969, 12, 31, 23, 59, 55, tzinfo=UTC)]


def test_seconds_of_which_many_lie_before_1971_are_a_clock_of_their_own(place):
    ticks = [user * 1_000_000 + step for user in range(90) for step in range(3)]
    assert times_of(place, [str(tick) for tick in ticks]) == [seconds(tick) for tick in ticks]


def test_a_told_unit_is_believed_within_the_calendar(place):
    assert times_of(place, ["5000", "99999999999999999"], timestamp_unit="ms") == [seconds(5)]
    assert place.rejected() == [
        (3, "timestamp", "99999999999999999", "expected milliseconds since 1970, the unit of this column")
    ]


@pytest.mark.parametrize("cell", ["nan", "inf", "1e40", "99999999999999999999999", "yesterday", "2024-13-01"])
def test_no_moment_at_all_is_rejected(place, cell):
    assert times_of(place, ["1709210096", "1709210097", cell]) == [seconds(1709210096), seconds(1709210097)]
    assert [row[:3] for row in place.rejected()] == [(4, "timestamp", cell)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(micros=st.lists(st.integers(10**15, 4 * 10**15), min_size=1, max_size=5), unit=st.sampled_from(["us", "ns"]))
def test_integers_are_exact_to_the_microsecond(place, micros, unit):
    scale = {"us": 1, "ns": 1000}[unit]
    found = times_of(place, [str(value * scale) for value in micros])
    assert found == [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value) for value in micros]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([MOMENT], pa.timestamp("ms", tz="UTC")),
        pa.array([MOMENT.astimezone(timezone(timedelta(hours=9)))], pa.timestamp("us", tz="Asia/Tokyo")),
        pa.array([MICROS // 1000]),
        pa.array([MICROS / 1e6]),
        pa.array(["2024-02-29T12:34:56.789Z"]),
    ],
    ids=["naive ns", "utc ms", "tokyo us", "int ms", "float s", "text"],
)
def test_times_of_parquet(place, values):
    place.write("e.parquet", pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": values}))
    assert column(place.ingest("e.parquet").interactions, "timestamp") == [MOMENT]


def test_dates_of_parquet_are_midnight(place):
    place.write("e.parquet", pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [date(2024, 2, 29)]}))
    expected = [datetime(2024, 2, 29, tzinfo=UTC)]
    assert column(place.ingest("e.parquet").interactions, "timestamp") == expected


def test_the_unit_is_that_of_all_files_together(place):
    place.write("log/a.csv", PLAIN + "u,a,1,5\n")
    place.write("log/b.csv", PLAIN + "".join(f"u,b{n},1,170921009{n}000\n" for n in range(5)))
    place.ingest("log", max_reject_share=1)
    assert [row[2] for row in place.rejected()] == ["5"]


# --- duplicates ------------------------------------------------------------------------------------------------------

REPEATS = (
    "user_id,item_id,timestamp,req,rating\n"
    "u,i,1,a,1\nu,i,1,a,2\nu,i,1,b,3\nu,i,2,a,4\nu,j,1,a,5\nv,i,1,a,6\nu,i,1,,7\nu,i,1,,8\n"
)


def ratings(place, **settings):
    log = {"labels": ["rating"], "request_id": "req", **settings.pop("log", {})}
    return sorted(column(place.ingest(log=log, **settings).interactions, "rating"))


def test_the_first_of_rows_that_agree_in_user_item_time_and_request_stays(place):
    place.write("e.csv", REPEATS)
    assert ratings(place) == [1, 3, 4, 5, 6, 7]
    assert place.report.tables["interactions"].duplicates == 2
    assert place.rejected() == []


def test_without_requests_they_need_not_agree_in_them(place):
    place.write("e.csv", REPEATS)
    assert ratings(place, log={"request_id": None}) == [1, 4, 5, 6]
    assert place.report.tables["interactions"].duplicates == 4


def test_duplicates_may_be_kept(place):
    place.write("e.csv", REPEATS)
    assert ratings(place, duplicates="keep") == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_sample_keeps_whole_users_and_the_same_ones_each_time(place):
    rows = [(f"user {n % 500}", f"i{n % 7}", n) for n in range(3000)]
    place.write("e.csv", "user_id,item_id,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    kept = {}
    for share in (0.05, 0.2):
        table = place.ingest(sample=share).interactions
        counts = Counter(column(table, "user_id"))
        assert set(counts.values()) == {6}, "all events of a user, or none"
        assert share * 500 / 2 < len(counts) < share * 500 * 2
        report = place.report.tables["interactions"]
        assert (report.kept, report.not_sampled) == (6 * len(counts), 3000 - 6 * len(counts))
        assert place.ingest(sample=share).interactions.equals(table)
        kept[share] = set(counts)
    assert kept[0.05] < kept[0.2]


def test_a_sample_without_users_says_so(place):
    place.write("e.csv", "user_id,item_id,timestamp\nu,i,1\n")
    with pytest.raises(
        DataError, match=r"found no user in a sample of 0\.001%, expected at least one; raise data\.sample"
    ):
        place.ingest(sample=0.00001)


def test_a_rejected_row_does_not_shadow_a_good_one(place):
    place.write("e.csv", PLAIN + "u,i,x,1\nu,i,5,1\n")
    assert ratings(place, log={"request_id": None}, max_reject_share=1) == [5]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 2)), min_size=1))
def test_deduplication_and_order_agree_with_a_dictionary(place, rows):
    place.write("e.csv", PLAIN + "".join(f"{u},{i},1,{t}\n" for u, i, t in rows))
    first = {}
    for number, row in enumerate(rows):
        first.setdefault(row, number)
    expected = sorted(first.values(), key=lambda number: (rows[number][2], number))
    assert column(place.ingest().interactions, "row") == expected


# --- users and items -------------------------------------------------------------------------------------------------


@pytest.fixture
def events(place):
    place.write("e.csv", PLAIN + "u,i,1,1\n")
    return place


def test_user_features_in_canonical_types(events):
    events.write(
        "users.csv",
        "user_id,age,job,about,joined,tags\n"
        'u,31,doctor,"likes, commas",2024-02-29,a  b\n'
        "v,nan,,,,\n"
        "w,-inf,NA,x,2023-01-01T05:00:00Z,c\n"
        "x,+1.5e1, nurse ,y,,\n"
        "y,NA,n,y,,\n",
    )
    kinds = {
        "age": "numeric",
        "job": "categorical",
        "about": "text",
        "joined": "timestamp",
        "tags": "multi_categorical",
    }
    users = events.ingest(users=kinds).users
    assert column(users, "user_id") == ["u", "v", "w", "x", "y"]
    assert column(users, "age") == [31.0, None, None, 15.0, None]
    assert column(users, "job") == ["doctor", None, None, "nurse", "n"]
    assert column(users, "about") == ["likes, commas", None, "x", "y", "y"]
    assert column(users, "joined")[:3] == [
        datetime(2024, 2, 29, tzinfo=UTC),
        None,
        datetime(2023, 1, 1, 5, tzinfo=UTC),
    ]
    assert column(users, "tags") == [["a", "b"], None, ["c"], None, None]
    assert users.schema.types[1:] == [
        pa.float64(),
        pa.large_string(),
        pa.large_string(),
        pa.timestamp("us", tz="UTC"),
        pa.list_(pa.large_string()),
    ]


def test_a_feature_that_is_no_number_rejects_its_row(events):
    events.write("users.csv", "user_id,age\nu,31\nv,old\n")
    assert column(events.ingest(users={"age": "numeric"}, max_reject_share=0.5).users, "user_id") == ["u"]
    assert events.rejected() == [(3, "age", "old", "expected a number")]


def test_the_first_row_of_an_item_is_kept_and_the_rest_rejected(events):
    events.write("items.csv", "item_id,title\ni,first\nj,x\ni,second\ni,third\n")
    dataset = events.ingest(items={"title": "title"}, max_reject_share=0.5)
    assert dataset.items.to_pylist() == [{"item_id": "i", "title": "first"}, {"item_id": "j", "title": "x"}]
    reason = "expected one row per item_id; the first is kept"
    assert events.rejected() == [(4, "item_id", "i", reason), (5, "item_id", "i", reason)]
    report = events.report.tables["items"]
    assert (report.read, report.kept, report.rejected, report.duplicates) == (4, 2, 2, 0)


def test_a_users_table_may_have_its_own_name_for_the_id_and_a_column_called_row(events):
    events.write("users.csv", "uid,row\nu,3\n")
    config = {
        "interactions": {"path": str(events.folder / "e.csv")},
        "users": {"path": str(events.folder / "users.csv"), "user_id": "uid", "columns": {"row": "numeric"}},
    }
    ingest(DataConfig.model_validate(config), events.out)
    assert Dataset.load(events.out).users.to_pylist() == [{"user_id": "u", "row": 3.0}]


def test_features_of_parquet(events):
    table = pa.table(
        {
            "user_id": [1, 2],
            "year": [1995.0, None],
            "score": [0.5, float("nan")],
            "level": pa.array([7, None], pa.int16()),
            "member": [True, None],
            "tags": [["a", None, "b"], None],
            "codes": [[1, 2], []],
            "price": [Decimal("1.50"), None],
        }
    )
    events.write("users.parquet", table)
    columns = {"year": "categorical", "score": "categorical", "level": "numeric", "member": "categorical"}
    columns |= {"tags": "multi_categorical", "codes": "multi_categorical", "price": "numeric"}
    config = {
        "interactions": {"path": str(events.folder / "e.csv")},
        "users": {"path": str(events.folder / "users.parquet"), "columns": columns},
    }
    ingest(DataConfig.model_validate(config), events.out)
    assert Dataset.load(events.out).users.to_pylist() == [
        {
            "user_id": "1",
            "year": "1995",
            "score": "0.5",
            "level": 7.0,
            "member": "true",
            "tags": ["a", "b"],
            "codes": ["1", "2"],
            "price": 1.5,
        },
        dict.fromkeys(table.column_names) | {"user_id": "2", "codes": []},
    ]


def test_the_separator_of_a_column_is_respected(events):
    events.write("items.csv", "item_id,genres\ni,Film-Noir|Children's| |Sci Fi\nj,\n")
    columns = {"genres": {"kind": "multi_categorical", "separator": "|"}}
    items = events.ingest(items={"columns": columns}).items
    assert column(items, "genres") == [["Film-Noir", "Children's", "Sci Fi"], None]


def test_a_missing_users_file_is_named(events):
    with pytest.raises(DataError, match=r"users\.csv: table users: found no such file"):
        events.ingest(users={"age": "numeric"})
    assert not events.out.exists()


def test_a_large_log_keeps_lines_across_blocks(place):
    # More than one block of the reader, so that numbering must go on over them.
    n = 600_000
    filler = "x" * 24
    cells = [f"user{k},{filler},1,{k}\n" for k in range(n)]
    cells[n - 5] = "short,row\n"
    cells[n - 3] = f"user,{filler},bad,7\n"
    place.write("e.csv", PLAIN + "".join(cells))
    place.ingest(log={"labels": ["rating"]})
    assert [(line, value) for line, _, value, _ in place.rejected()] == [(n - 5 + 2, "short,row"), (n - 3 + 2, "bad")]
    assert place.report.tables["interactions"].kept == n - 2
    rows = np.array(column(Dataset.load(place.out).interactions, "row"))
    assert rows[-1] == n - 1
