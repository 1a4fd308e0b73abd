"""Every format people have: which columns a file has, its rows, and the lines of the rejected ones."""

import codecs
import gzip
import io
import sys
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.config import TableConfig
from recsys.data.files import column_names, declared_types, delimited, read_head, read_source, records
from recsys.data.files.encoding import recognise
from recsys.errors import DataError

ROWS = {"user_id": ["196", "186", "22"], "item_id": ["242", "302", "377"]}


@pytest.fixture
def read(tmp_path):
    """Writes a file and reads columns of it."""

    def run(name, content, columns=("user_id", "item_id"), **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_source(path, TableConfig(path=str(path), **settings), list(columns))

    return run


@pytest.fixture
def names(tmp_path):
    """Writes a file and lists its columns."""

    def run(name, content, **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return column_names(path, TableConfig(path=str(path), **settings))

    return run


# --- no header, other delimiters -------------------------------------------------------------------------------------

HEADER = ["user_id", "item_id", "rating", "timestamp"]
U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("u.data", U_DATA, {"delimiter": "\t"}),
        ("u.data", U_DATA, {"format": "tsv"}),
        ("ratings.dat", U_DATA.replace("\t", "::"), {"delimiter": "::"}),
        ("ratings.dat", U_DATA.replace("\t", "::").replace("\n", "\r\n"), {"delimiter": "::"}),
        ("ratings.txt", U_DATA.replace("\t", "   \t ").replace("\n", " \n  "), {"delimiter": "blanks"}),
        ("ratings.txt", U_DATA.replace("\t", "¦"), {"delimiter": "¦"}),
        ("ratings.csv", U_DATA.replace("\t", ",").removesuffix("\n"), {}),
    ],
    ids=["tab", "tsv", "::", ":: and CRLF", "blanks", "non-ASCII", "comma"],
)
def test_a_file_without_header_and_any_delimiter(read, name, text, settings):
    source = read(name, text, HEADER, header=HEADER, **settings)
    assert source.table.select(["user_id", "item_id"]).to_pydict() == ROWS
    assert source.lines([0, 2]) == {0: 1, 2: 3}
    assert source.bad == ()


def test_typed_headers_name_columns_plainly(read, names, tmp_path):
    text = "user_id:token\titem_id:token\trating:float\tgenres:token_seq\n196\t242\t3\ta b\n"
    assert names("x.inter", text, format="tsv") == ["user_id", "item_id", "rating", "genres"]
    config = TableConfig(path="x.inter", format="tsv")
    assert declared_types(tmp_path / "x.inter", config) == {
        "user_id": "token",
        "item_id": "token",
        "rating": "float",
        "genres": "token_seq",
    }
    assert read("x.inter", text, ["rating", "genres"], format="tsv").table.to_pylist() == [
        {"rating": "3", "genres": "a b"}
    ]


def test_a_header_with_one_untyped_name_is_taken_as_it_is(names, tmp_path):
    assert names("x.csv", "user_id:token,time\nu,1\n") == ["user_id:token", "time"]
    assert declared_types(tmp_path / "x.csv", TableConfig(path="x.csv")) == {}


# --- JSON lines ------------------------------------------------------------------------------------------------------

JSON = (
    '{"user_id": "007", "item_id": 9007199254740993, "style": {"color": "red"}, "tags": ["a", "b"], "vip": true}\n'
    "\n"
    '{"user_id": "8", "item_id": 2, "style": {"size": 1.5}, "tags": null}\r\n'
    "{broken\n"
    "[1]\n"
    '{"user_id": "9", "item_id": 3, "vip": false}'
)


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.json", "x.jsonl.gz", "x.jsonl.zip"])
def test_json_lines(read, names, tmp_path, name):
    content = JSON.encode()
    if name.endswith(".gz"):
        content = gzip.compress(content)
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("inner.jsonl", content)
        content = (tmp_path / name).read_bytes()
    assert names(name, content) == ["user_id", "item_id", "style.color", "tags", "vip", "style.size"]
    source = read(name, content, ["user_id", "item_id", "style.color", "style.size", "tags", "vip"])
    assert source.table.to_pydict() == {
        "user_id": ["007", "8", "9"],
        "item_id": [9007199254740993, 2, 3],
        "style.color": ["red", None, None],
        "style.size": [None, 1.5, None],
        "tags": [["a", "b"], None, None],
        "vip": [True, None, False],
    }
    assert source.records.tolist() == [0, 1, 4]
    assert [(row.record, row.value) for row in source.bad] == [(2, "{broken"), (3, "[1]")]
    assert source.lines([0, 1, 2, 3, 4]) == {0: 1, 1: 3, 2: 4, 3: 5, 4: 6}


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        (["1", "2.5", "null"], [1.0, 2.5, None]),
        (["1", "true"], ["1", "true"]),
        (["5", '"05"', "5.0", "2.5"], ["5", "05", "5", "2.5"]),
        ([str(2**63), "1"], [str(2**63), "1"]),
        ([str(2**53 + 1), "0.5"], [str(2**53 + 1), "0.5"]),
        (['["a"]', '"b"', "null"], [["a"], ["b"], None]),
        (["[1, 2]", "[2.5]", "[]"], [[1.0, 2.0], [2.5], []]),
        (["[[1], {}]"], [["[1]", "{}"]]),
        (['"a"', '{"b": 1}'], ["a", '{"b": 1}']),
        (["NaN", "1.5"], [None, 1.5]),
        (["null", "null"], [None, None]),
    ],
)
def test_json_values_keep_their_type_or_become_text_together(read, values, cells):
    text = "".join(f'{{"x": {value}}}\n' for value in values)
    assert read("x.jsonl", text, ["x"]).table["x"].to_pylist() == cells


def test_types_that_differ_between_chunks_are_joined(read, monkeypatch):
    monkeypatch.setattr(records, "_CHUNK", 2)
    text = "".join(f'{{"x": {value}}}\n' for value in ["1", "2", "2.5", "null", "null", "null", '"a"'])
    assert read("x.jsonl", text, ["x"]).table["x"].to_pylist() == ["1", "2", "2.5", None, None, None, "a"]


def test_half_a_character_in_json_rejects_its_row(read):
    source = read("x.jsonl", '{"x": "\\ud800"}\n{"x": "y"}\n', ["x"])
    assert source.table["x"].to_pylist() == ["y"]
    assert [(row.record, row.column, row.reason) for row in source.bad] == [(0, "x", "expected UTF-8 text")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[{"x": 1},\n{"x": 2}]',
            r"found one JSON array, expected a record a line; .*jq -c '\.\[\]' x\.json >",
        ),
        ('{\n "x": 1\n}', "found one JSON object, expected a record a line"),
        ("\n\n", "found an empty file, expected a JSON object a line"),
        ('{"y": 1}', r"column x: found only y, expected x"),
    ],
)
def test_json_that_is_not_a_record_a_line_is_refused(read, text, message):
    with pytest.raises(DataError, match=message):
        read("x.json", text, ["x"])


# --- encodings -------------------------------------------------------------------------------------------------------

WORDS = "id,title\n" + "".join(f"{n},{title}\n" for n, title in enumerate(["Léon", "Amélie", "Die Brücke", "naïve"]))


@pytest.mark.parametrize(
    ("encoding", "mark", "name"),
    [
        ("utf-8", b"", "utf-8"),
        ("utf-8", codecs.BOM_UTF8, "utf-8"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "utf-16"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "utf-16"),
        ("utf-32-le", codecs.BOM_UTF32_LE, "utf-32"),
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
        ("latin-1", b"", "cp1252"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_encoding_is_recognised_and_said(read, encoding, mark, name, end):
    source = read("x.csv", mark + WORDS.replace("\n", end).encode(encoding), ["id", "title"])
    assert source.table["title"].to_pylist() == ["Léon", "Amélie", "Die Brücke", "naïve"]
    assert source.encoding == name
    assert source.lines([0, 3]) == {0: 2, 3: 5}
    assert bool(source.notes) is (name != "utf-8")
    assert all(note.startswith(f"read as {name} (") for note in source.notes)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1251", "Война и мир, Толстой"), ("shift_jis", "となりのトトロ"), ("gb18030", "霸王别姬,大红灯笼高高挂")],
)
def test_other_scripts_are_recognised(encoding, text):
    sample = "".join(f"{n};{text} {n * n}\n" for n in range(50))
    assert sample.encode(encoding).decode(recognise(sample.encode(encoding)).name) == sample


def test_a_named_encoding_is_used_and_rows_that_do_not_fit_it_are_rejected(read):
    source = read("x.csv", b"id,title\n1,L\xe9on\n2,\x81\n", ["id", "title"], encoding="cp1252")
    assert source.table["title"].to_pylist() == ["Léon"]
    assert [(row.record, row.column, row.reason) for row in source.bad] == [(1, "title", "expected cp1252 text")]
    assert source.notes == ()


def test_nul_bytes_are_kept_as_they_are(read):
    assert read("x.csv", b"id,title\n1,a\0b\n", ["title"]).table["title"].to_pylist() == ["a\0b"]


# --- archives and spreadsheets ---------------------------------------------------------------------------------------


def _zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["ratings.csv.zip", "ratings.zip"])
def test_a_zipped_table_is_read(read, name):
    content = _zipped({"data/": "", "__MACOSX/._ratings.csv": "x", "data/ratings.csv": "user_id,item_id\n1,2\n"})
    assert read(name, content).table.to_pylist() == [{"user_id": "1", "item_id": "2"}]


def test_an_archive_of_several_files_is_refused_with_their_names(read):
    with pytest.raises(DataError, match=r"found 2 files in the archive \(a\.csv, b\.csv\), expected one table; unpack"):
        read("x.zip", _zipped({"a.csv": "x", "b.csv": "y"}))


@pytest.mark.parametrize("name", ["x.csv.zip", "x.xlsx", "x.csv.gz", "x.jsonl.gz"])
def test_a_damaged_archive_is_named(read, name):
    with pytest.raises(DataError, match=rf"{name}: found a file that cannot be read \(.*\), expected "):
        read(name, b"PK\3\4 not at all")


def _cell(value, at):
    if isinstance(value, str):
        return f'<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{at}"><v>{value}</v></c>' if value is not None else ""


def _workbook(rows, sheets=("log",)):
    """A spreadsheet with these rows in every sheet, written by hand: rows by number from 1, cells from column A."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    listed = "".join(f'<sheet name="{s}" sheetId="{n}" r:id="r{n}"/>' for n, s in enumerate(sheets, 1))
    links = "".join(
        f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    body = "".join(
        f'<row r="{number}">{"".join(_cell(value, f"{chr(65 + at)}{number}") for at, value in enumerate(row))}</row>'
        for number, row in rows.items()
    )
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{office}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{links}</Relationships>',
    }
    for number in range(1, len(sheets) + 1):
        files[f"xl/worksheets/sheet{number}.xml"] = f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>"
    return _zipped(files)


SHEET = {1: ["user_id", "item_id", "price"], 2: ["007", 5, 1.5], 4: ["8", 6, None]}


def test_a_spreadsheet_is_read_with_whole_numbers_and_its_row_numbers(read, names):
    pytest.importorskip("python_calamine")
    content = _workbook(SHEET)
    assert names("x.xlsx", content) == ["user_id", "item_id", "price"]
    source = read("x.xlsx", content, ["user_id", "item_id", "price"])
    assert source.table.to_pydict() == {"user_id": ["007", "8"], "item_id": [5, 6], "price": [1.5, None]}
    assert source.lines([0, 1]) == {0: 2, 1: 4}
    assert source.notes == ()


def test_other_sheets_are_named_and_a_header_may_be_set(read):
    pytest.importorskip("python_calamine")
    source = read("x.xlsx", _workbook({3: [1, 2]}, ("log", "notes")), ["b"], header=["a", "b"])
    assert source.table.to_pylist() == [{"b": 2}]
    assert source.lines([0]) == {0: 3}
    assert source.notes == ("only the first sheet is read, not notes",)
    with pytest.raises(DataError, match=r"x\.xlsx:1: found 2 columns, expected the 1 that header names: a"):
        read("x.xlsx", _workbook({1: [1, 2]}), ["a"], header=["a"])
    with pytest.raises(DataError, match=r"x\.xlsx: found an empty file"):
        read("x.xlsx", _workbook({}), ["a"])


def test_without_the_extra_a_spreadsheet_says_what_to_install(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(DataError, match=r"which needs pip install 'recsys\[excel\]'; or save it as CSV"):
        read("x.xlsx", _workbook(SHEET))


def test_a_header_of_another_width_than_the_file_is_refused(read):
    with pytest.raises(DataError, match=r"x\.csv:1: found 3 columns, expected the 2 that header names: a, b; check"):
        read("x.csv", "1,2,3\n", ["a"], header=["a", "b"])


def test_a_row_longer_than_a_block_is_refused_with_its_line(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n3," + "x" * 100 + "\n4,5\n")
    monkeypatch.setattr(delimited, "BLOCK", 50)
    with pytest.raises(DataError, match=r"x\.csv:3: found a row of more than 0 MB, expected shorter ones"):
        read_source(path, TableConfig(path=str(path)), ["a"])


# --- the beginning of a file -----------------------------------------------------------------------------------------

TEXTS = {
    "x.csv": "user_id,item_id,x,x\n" + "".join(f"u{n:04},{n:04},1,2\n" for n in range(3000)),
    "x.dat": "".join(f"u{n:04}::{n:04}\n" for n in range(3000)),
    "x.jsonl": "".join(f'{{"user_id": "u{n:04}", "item_id": "{n:04}"}}\n' for n in range(3000)),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("packed", ["", ".gz", ".zip"])
@pytest.mark.parametrize(("rows", "size"), [(10**6, 1 << 20), (7, 1 << 20), (10**6, 2000)])
def test_a_head_is_the_first_rows_and_knows_its_share(tmp_path, name, packed, rows, size):
    content = TEXTS[name].encode()
    path = tmp_path / f"{name}{packed}"
    path.write_bytes({"": content, ".gz": gzip.compress(content), ".zip": _zipped({name: content})}[packed])
    settings = {"delimiter": "::", "header": ["user_id", "item_id"]} if name == "x.dat" else {}
    config = TableConfig(path=str(path), **settings)
    head = read_head(path, config, rows=rows, size=size)
    assert head.names == column_names(path, config)
    whole = read_source(path, config, ["user_id", "item_id"]).table
    assert head.table.column_names == ["user_id", "item_id"]
    assert 0 < len(head.table) <= min(rows, 3000)
    assert head.table.equals(whole.slice(0, len(head.table)))
    assert (head.share == 1) is (len(head.table) == 3000)
    if not packed:
        assert len(head.table) / head.share == pytest.approx(3000, rel=0.1)


def test_the_head_of_parquet_says_which_columns_cannot_be_read(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": range(10), "b": [{"c": n} for n in range(10)], "d": [[1]] * 10}), path)
    head = read_head(path, TableConfig(path=str(path)), rows=4, size=1)
    assert head.names == ["a", "b.c", "d"]
    assert head.table.select(["a", "b.c"]).to_pydict() == {"a": [0, 1, 2, 3], "b.c": [0, 1, 2, 3]}
    assert head.share == 0.4
    assert head.unreadable == {}
