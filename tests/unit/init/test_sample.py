"""A bounded look at files of every kind, and what is said of those that are no tables."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import InputError
from recsys.init.sample import read_sample, sniff_delimiter


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
    assert sample.remarks == ("starts with a byte order mark", "cells are set apart by a semicolon")
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
    path.write_bytes(b"user,item\n" + b"a,b\n" * 300 + b"\xff,b\n")
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
        ("d.csv", b"2024-01-01,7\n2024-01-02,8\n", "put a line with names in front, such as user_id,item_id"),
        ("z.csv", b"PK\x03\x04stuff\nmore\n", "found binary data, expected CSV, TSV or Parquet"),
        ("j.csv", bytes(range(1, 255)) * 40, "found binary data"),
        ("l.csv", b"user,item\n" + "é,ü\n".encode("latin-1") * 9, "found bytes that are not UTF-8 in 9 of 11"),
        ("u.csv", "user,item\n1,2\n".encode("utf-16"), "found UTF-16 text, expected UTF-8; convert it"),
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
