"""A bounded look at files of every kind, and what is said of those that are no tables."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.files import sniff_delimiter
from recsys.errors import InputError
from recsys.init.sample import read_sample


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_sample(str(path), "interactions", max_bytes=1 << 16)
    for word in (str(path), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_delimiter_is_told_from_the_others(delimiter):
    text = "".join(delimiter.join([f"a{n}", "x,y;z|w" if n % 2 else "x", f"{n}"]) + "\n" for n in range(9))
    quoted = text.replace("x,y;z|w", '"x,y;z|w"')
    assert sniff_delimiter(quoted) == delimiter


def test_without_any_delimiter_the_usual_one_is_kept():
    assert sniff_delimiter("a\nb\n", "\t") == "\t"


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes("\ufeffuser;item\n1;2\n".encode())
    sample = read_sample(str(path), "interactions")
    assert list(sample.columns) == ["user", "item"]
    assert sample.config.delimiter == ";"
    assert sample.remarks == ("starts with a byte order mark", "cells are set apart by semicolon")
    assert (len(sample), sample.rows, sample.complete) == (1, 1, True)


def test_no_more_is_read_than_asked_for(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item\n" + "".join(f"{n:05d},{n:05d}\n" for n in range(20_000)))
    few = read_sample(str(path), "interactions", max_rows=100)
    assert (len(few), few.complete) == (100, False)
    assert few.rows == pytest.approx(20_000, rel=0.02)
    short = read_sample(str(path), "interactions", max_bytes=1200)
    assert len(short) == (1200 - 10) // 12 - 1  # the last whole line might have been cut within a quoted cell
    assert short.rows == pytest.approx(20_000, rel=0.05)


def test_compressed_text(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n1,2\n3,4\n"))
    assert read_sample(str(path), "interactions").columns["item"].to_pylist() == ["2", "4"]
    path.write_bytes(path.read_bytes()[:-12])
    refused(path, "cannot be read")


def test_a_folder_of_parquet(tmp_path):
    for part in range(6):
        table = pa.table({"u": pa.array(["a", "b"] * 50).dictionary_encode(), "i": [part] * 100})
        pq.write_table(table, tmp_path / f"{part}.parquet")
    sample = read_sample(str(tmp_path), "interactions", max_rows=40)
    assert sample.columns["u"].type == pa.large_string()
    assert set(sample.columns["i"].to_pylist()) == {0, 1, 3, 5}  # four files, evenly spread
    assert len(sample) == 40
    assert sample.rows == pytest.approx(600, rel=0.05)


def test_columns_that_cannot_be_named(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,x,x,\n1,2,3,4,5\n")
    sample = read_sample(str(path), "interactions")
    assert list(sample.columns) == ["user", "item"]
    assert sample.unusable == {"x": "2 columns have this name", "": "it has no name"}


def test_rows_that_are_not_utf8_are_passed_over_when_they_are_few(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"user,item\n" + "ä,b\n".encode() * 300 + b"\xff,b\n")
    assert len(read_sample(str(path), "interactions")) == 300


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("e.csv", b"", "found an empty file, expected a header and rows"),
        ("b.csv", b"\n\n\n", "found an empty file"),
        ("h.csv", b"user,item\n", "found a header and no rows"),
        ("o.csv", b"user\n1\n2\n", ":1: found one column (user), expected at least two"),
        ("n.csv", b"196,242,3\n186,302,3\n", "found values (196,242,3), expected the names of the columns"),
        ("r.csv", b"ann,jaws\nann,alien\nbob,jaws\n", "found values (ann,jaws), expected the names of the columns"),
        ("d.csv", b"2024-01-01,7\n2024-01-02,8\n", "name them, such as --columns user_id,item_id"),
        ("z.csv", b"PK\x03\x04stuff\nmore\n", "found binary data, expected CSV, TSV, JSON lines, Parquet"),
        ("j.csv", bytes(range(1, 255)) * 40, "found binary data"),
        ("w.csv", b"a,b" * 30_000, "found a first line longer than 65,536 bytes"),
        ("p.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_files_that_are_no_tables(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path, words)


def test_a_missing_file_and_an_empty_folder(tmp_path):
    refused(tmp_path / "nothing.csv", "found no such file")
    refused(tmp_path, "found a folder without data files")


def test_parts_whose_types_differ(tmp_path):
    pq.write_table(pa.table({"u": [1], "i": ["a"]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"u": [1], "i": [[1]]}), tmp_path / "1.parquet")
    refused(tmp_path, "found files whose columns differ in type")


def test_a_huge_single_line_is_answered_at_once(tmp_path):
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # a gigabyte that takes no disk
    refused(path, "found a first line longer than")


HEADLESS = [(1 + n % 9, 100 + n % 17, 1 + n % 5, 880_000_000 + 900 * n) for n in range(60)]


@pytest.mark.parametrize(("name", "mark"), [("u.data", "\t"), ("ratings.dat", "::"), ("blanks.txt", "  ")])
def test_ratings_without_a_header_are_recognised(tmp_path, name, mark):
    path = tmp_path / name
    path.write_text("".join(mark.join(map(str, row)) + "\n" for row in HEADLESS))
    sample = read_sample(str(path), "interactions")
    assert sample.config.header == ("user_id", "item_id", "rating", "timestamp")
    assert sample.config.delimiter == {"  ": "blanks"}.get(mark, mark)
    assert len(sample) == len(HEADLESS), "the first line is a row"
    assert sample.columns["item_id"].to_pylist() == [str(row[1]) for row in HEADLESS]
    assert "no header line" in sample.guessed["header"]


def test_other_columns_without_a_header_need_names(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("".join(f"{u},{i},{t}\n" for u, i, _, t in HEADLESS))
    refused(path, "expected the names of the columns; name them, such as --columns user_id,item_id,timestamp")
    sample = read_sample(str(path), "interactions", header=["who", "what", "when"])
    assert sample.columns["when"].to_pylist() == [str(row[3]) for row in HEADLESS]
    with pytest.raises(InputError, match="--columns: found 2 names for 3 columns"):
        read_sample(str(path), "interactions", header=["who", "what"])


def test_a_header_with_numbers_as_names(tmp_path):
    path = tmp_path / "ccp.csv"
    path.write_text("click,purchase,101,121\n" + "".join(f"{n % 2},0,{n},{n % 3}\n" for n in range(20)))
    sample = read_sample(str(path), "interactions")
    assert list(sample.columns) == ["click", "purchase", "101", "121"]


def test_declared_types_are_no_part_of_the_names(tmp_path):
    path = tmp_path / "log.inter"
    path.write_text("user_id:token\titem_id:token\trating:float\n1\t2\t3\n4\t5\t1\n")
    sample = read_sample(str(path), "interactions")
    assert list(sample.columns) == ["user_id", "item_id", "rating"]
    assert sample.declared == {"user_id": "token", "item_id": "token", "rating": "float"}


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
def test_encodings_are_recognised(tmp_path, encoding):
    path = tmp_path / "log.csv"
    path.write_bytes(("user,item\n" + "José,Ein schönes Mädchen\nZoë,Français à Nîmes\n" * 20).encode(encoding))
    sample = read_sample(str(path), "interactions")
    assert sample.columns["user"].to_pylist()[:2] == ["José", "Zoë"]
    assert (sample.config.encoding is not None) == (encoding == "cp1252"), "a byte order mark needs no setting"


def test_decimal_commas_become_numbers(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user;item;price\n" + "".join(f"u{n};i{n};{n}.234,5{n}\n" for n in range(1, 10)))
    sample = read_sample(str(path), "interactions")
    assert (sample.config.decimal, sample.config.thousands) == (",", ".")
    assert sample.columns["price"].to_pylist() == pytest.approx([1000 * n + 234.5 + n / 100 for n in range(1, 10)])
    assert set(sample.guessed) == {"decimal", "thousands"}


def test_records_are_read_as_far_as_asked(tmp_path):
    path = tmp_path / "log.json"
    path.write_text("".join(f'{{"user": {{"id": {n}}}, "tags": ["a", "b"]}}\n' for n in range(1000)))
    sample = read_sample(str(path), "interactions", max_rows=100)
    assert (len(sample), list(sample.columns)) == (100, ["user.id", "tags"])
    assert sample.rows == pytest.approx(1000, rel=0.05)
