"""How a file is written is recognised from its beginning, and what is recognised reads the file."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.config import TableConfig
from recsys.data.files import column_names, read_source, sniff
from recsys.data.files.sniff import sniff_header, sniff_marks
from recsys.errors import DataError

U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n"
NAMED = "user_id\titem_id\trating\ttimestamp\n"


def look(tmp_path, name, content, **settings):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return sniff(path, TableConfig(path=str(path), **settings))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    ("name", "delimiter", "settings"),
    [
        ("x.data", "\t", {"delimiter": "\t"}),
        ("x.tsv", "\t", {}),
        ("x.csv", "\t", {"delimiter": "\t"}),
        ("x.dat", "::", {"delimiter": "::"}),
        ("x.txt", "  ", {"delimiter": "blanks"}),
        ("x.csv", ";", {"delimiter": ";"}),
        ("x.csv", ",", {}),
        ("x.log", ",", {"format": "csv"}),
        ("x.txt.gz", "|", {"delimiter": "|"}),
    ],
)
def test_the_settings_found_read_the_file(tmp_path, name, delimiter, settings, header):
    text = ((NAMED if header else "") + U_DATA).replace("\t", delimiter)
    found = look(tmp_path, name, gzip.compress(text.encode()) if name.endswith(".gz") else text)
    assert found.settings == settings
    assert found.has_header is header
    assert found.columns == 4
    names = NAMED.split()
    config = TableConfig(path="x", **found.settings, header=None if header else tuple(names))
    path = tmp_path / name
    assert column_names(path, config) == names
    assert read_source(path, config, ["item_id"]).table["item_id"].to_pylist() == ["242", "302", "377"]


@pytest.mark.parametrize(
    ("rows", "has_header"),
    [
        ([["user", "item"], ["a", "b"], ["a", "c"]], True),
        ([["a", "b"], ["a", "b"], ["a", "b"]], False),
        ([["click", "purchase", "101", "121"], ["0", "1", "5", "7"], ["1", "0", "", "8"]], True),
        ([["0", "1", "2"], ["5", "7", "1"], ["4", "7", "0"]], True),
        ([["u1", "2024-01-01"], ["u2", "2024-01-02"]], False),
        ([["u1", ""], ["u2", "3"]], True),
        ([["user:token", "x:float"], ["u", "w"]], True),
        ([["a", "b"]], True),
        ([["a", "1"]], False),
        ([], True),
    ],
)
def test_a_first_row_of_values_is_no_header(rows, has_header):
    assert sniff_header(rows)[0] is has_header


@pytest.mark.parametrize(
    ("cells", "marks"),
    [
        (["1,5", "2"], {"decimal": ","}),
        (["1,50", "2,25", "NA", ""], {"decimal": ","}),
        (["0,125"], {"decimal": ","}),
        (["1.234,5"], {"decimal": ",", "thousands": "."}),
        (["1.234.567"], {"decimal": ",", "thousands": "."}),
        (["1,234,567"], {"thousands": ","}),
        (["1,234", "5,678", "12"], {"thousands": ","}),
        (["1,234.5"], {"thousands": ","}),
        (["1'234", "5'678"], {"thousands": "'"}),
        (["1 234,5"], {"decimal": ",", "thousands": " "}),
        (["1,234"], {}),
        (["1.234", "5.678"], {}),
        (["1.5", "2.25"], {}),
        (["1,2,3"], {}),
        (["a,5", "b"], {}),
        (["12", "1234"], {}),
        ([], {}),
    ],
)
def test_marks_of_numbers_are_told_where_only_one_reading_fits(cells, marks):
    assert {name: mark for name, (mark, _) in sniff_marks([[cell] for cell in cells]).items()} == marks


def test_a_quote_that_hides_rows_turns_quoting_off(tmp_path):
    quote = {3: '"'}
    rows = "".join(f"{n},{quote.get(n, '')}x{n}{quote.get(n - 6, '')}\n" for n in range(20))
    found = look(tmp_path, "x.csv", "item,title\n" + rows)
    assert found.settings == {"quoting": "none"}
    assert len(found.rows) == 21


def test_the_format_is_told_by_the_content_where_the_extension_does_not(tmp_path):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), buffer)
    assert look(tmp_path, "part-0001", buffer.getvalue()).settings == {"format": "parquet"}
    assert look(tmp_path, "part-0002", json.dumps({"a": 1}) + "\n").settings == {"format": "jsonl"}
    assert look(tmp_path, "part-0003", b"PK\3\4...").settings == {"format": "excel"}


def test_an_encoding_is_said(tmp_path):
    found = look(tmp_path, "x.csv", "item,title\n1,Léon\n".encode("utf-16"))
    assert found.reasons["encoding"] == "utf-16: byte order mark"
    assert found.rows == (("item", "title"), ("1", "Léon"))


def test_what_is_set_is_not_guessed(tmp_path):
    found = look(tmp_path, "x.csv", "a;b\n1,5;2\n", delimiter=";", decimal=".", header=["a", "b"])
    assert found.settings == {}
    assert not found.has_header


def test_a_damaged_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"x\.csv\.gz: found a file that cannot be read \(.*\), expected CSV"):
        look(tmp_path, "x.csv.gz", b"not packed")
