"""No row of a text file disappears without being counted: an independent reading of the same text agrees."""

import csv
import io
import json
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recsys.data.config import TableConfig
from recsys.data.files import delimited, read_source
from recsys.data.files import stream as stream_module

UGLY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def lines_of(text):
    """The lines of a text, however they end; the last needs no end."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines[:-1] if lines[-1] == "" else lines


def read(folder, text, name="x.csv", **config):
    path = folder / name
    path.write_bytes(text.encode(config.get("encoding") or "utf-8"))
    return read_source(path, TableConfig(path=str(path), encoding="utf-8", **config), ["a", "b"])


def ugly(alphabet):
    return st.lists(st.sampled_from(alphabet), max_size=40).map("".join)


@pytest.mark.parametrize("delimiter", [",", "\t", "::", "|", "é"])
@UGLY
@given(data=st.data())
def test_without_quotes_every_line_is_a_row_a_reject_or_blank(tmp_path, delimiter, data):
    text = data.draw(ugly([delimiter, delimiter, "\n", "\n", "\r", "\r\n", '"', "x", " ", "\0", ":", "ü"]))
    source = (
        read(tmp_path, text, delimiter=delimiter, quoting="none", header=["a", "b"])
        if has_two(text, delimiter)
        else None
    )
    if source is None:
        return
    rows, bad = [], []
    for number, line in enumerate(lines_of(text), start=1):
        if line:
            cells = line.split(delimiter)
            (rows if len(cells) == 2 else bad).append((number, cells))
    lines = source.lines([*source.records.tolist(), *(row.record for row in source.bad)])
    assert [lines[record] for record in source.records.tolist()] == [number for number, _ in rows]
    assert [lines[row.record] for row in source.bad] == [number for number, _ in bad]
    assert [list(row.values()) for row in source.table.to_pylist()] == [
        [cell or None for cell in cells] for _, cells in rows
    ]
    assert source.size == len(rows) + len(bad)


def has_two(text, delimiter):
    """Whether the first line that is not blank has the two columns that the settings name."""
    first = next((line for line in lines_of(text) if line), "")
    return len(first.split(delimiter)) == 2


@UGLY
@given(text=st.builds("a,b\n{}".format, ugly([",", ",", "\n", "\r\n", '"', '"', '""', "x", " ", "\0"])))
@example(text='a,b\n"x\n",y\n"\n')
@example(text='a,b\nx"y"z,"1\n2"\n\n,\n')
def test_with_quotes_rows_rejects_and_their_lines_are_all_lines(tmp_path, text):
    source = read(tmp_path, text, quoting="quotes")
    reader = csv.reader(io.StringIO(text, newline=""))
    start, rows = 1, []
    for cells in reader:
        if cells:
            rows.append((start, reader.line_num - start + 1, cells))
        start = reader.line_num + 1
    rows = rows[1:]
    lines = source.lines([*source.records.tolist(), *(row.record for row in source.bad)])
    kept = {
        lines[record]: list(row.values())
        for record, row in zip(source.records.tolist(), source.table.to_pylist(), strict=True)
    }
    bad = {lines[row.record]: row.lines for row in source.bad}
    assert sorted([*kept, *bad]) == [line for line, _, _ in rows]
    spans = {line: count for line, count, _ in rows}
    assert all(spans[line] == count for line, count in bad.items())
    for line, count, cells in rows:
        if line in kept:
            assert kept[line] == [cell or None for cell in cells]
        else:
            assert len(cells) != 2 or count > 1
    blank = len(lines_of(text)) - 1 - sum(spans.values())
    assert blank >= 0
    continued = sum(count - 1 for line, count in spans.items() if line in kept)
    assert source.size + continued + blank + 1 == len(lines_of(text))


@UGLY
@given(text=st.builds("a\tb\n{}".format, ugly(["\t", "\t", "\n", "\r\n", '"', '""', "x", " "])))
@example(text='a\tb\n"""""""')
def test_of_tabs_every_line_is_a_row_a_reject_or_blank_whatever_the_quotes(tmp_path, text):
    source = read(tmp_path, text, name="x.tsv")
    lines = source.lines([*source.records.tolist(), *(row.record for row in source.bad)])
    assert sorted(lines.values()) == [number for number, line in enumerate(lines_of(text), 1) if line][1:]
    assert all(row.lines == 1 for row in source.bad)


@UGLY
@given(text=ugly([" ", "\t", "\n", "\r\n", "x", '"', "::"]))
def test_runs_of_blanks_cut_every_line(tmp_path, text):
    lines = ["a b", *lines_of(text)]
    source = read(tmp_path, "\n".join(lines), delimiter="blanks")
    rows = [(number, line.split()) for number, line in enumerate(lines, 1) if line.split()][1:]
    good = {number: cells for number, cells in rows if len(cells) == 2}
    assert [list(row.values()) for row in source.table.to_pylist()] == list(good.values())
    assert list(source.lines(source.records.tolist()).values()) == list(good)
    assert len(source.bad) == len(rows) - len(good)


JSON_CELL = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab."), inner, max_size=2),
    max_leaves=4,
)


@UGLY
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from("ab"), JSON_CELL).map(json.dumps) | ugly(['{"a":1}', "{", '"', "[", "", " "]),
        max_size=6,
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_every_json_line_is_a_row_a_reject_or_blank(tmp_path, rows, end):
    text = end.join(['{"a": 1, "b": [2]}', *rows])
    source = read(tmp_path, text, name="x.jsonl")
    good, bad = [], []
    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            (good if isinstance(value, dict) else bad).append(number)
    lines = source.lines([*source.records.tolist(), *(row.record for row in source.bad)])
    read_rows = [lines[record] for record in source.records.tolist()]
    undecodable = [lines[row.record] for row in source.bad if row.column is not None]
    assert sorted(read_rows + undecodable) == good
    assert [lines[row.record] for row in source.bad if row.column is None] == bad


@pytest.mark.parametrize("block", [7, 16, 64])
def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch, block):
    text = 'a,b\n"x\ny",1\n\n"ü,é",2\nbroken\n"""",3\n'
    expected = read(tmp_path, text)
    monkeypatch.setattr(stream_module.text_blocks, "__defaults__", (block,))
    monkeypatch.setattr(delimited.Dialect.blocks, "__defaults__", (block,))
    source = read(tmp_path, text)
    assert source.table.equals(expected.table)
    assert source.lines([0, 1, 2, 3]) == expected.lines([0, 1, 2, 3]) == {0: 2, 1: 5, 2: 6, 3: 7}


# --- quotes ----------------------------------------------------------------------------------------------------------

CATALOGUE = [(str(n), {10: '"Heroes', 30: 'Villains"'}.get(n, f"title {n}")) for n in range(80)]


@pytest.mark.parametrize(("name", "delimiter"), [("x.tsv", "\t"), ("x.dat", "::")])
def test_a_cell_that_begins_with_a_quote_swallows_no_rows(tmp_path, name, delimiter):
    text = f"a{delimiter}b\n" + "".join(f"{item}{delimiter}{title}\n" for item, title in CATALOGUE)
    source = read(tmp_path, text, name=name, delimiter=delimiter)
    assert [tuple(row.values()) for row in source.table.to_pylist()] == CATALOGUE


def test_where_quotes_are_syntax_swallowed_rows_are_refused_and_counted(tmp_path):
    text = "a,b\n" + "".join(f"{item},{title}\n" for item, title in CATALOGUE)
    source = read(tmp_path, text)
    assert source.table["a"].to_pylist() == [item for item, _ in CATALOGUE[:10] + CATALOGUE[31:]]
    (row,) = source.bad
    assert source.lines([row.record]) == {row.record: 12}
    assert (row.lines, source.size) == (21, 80)
    assert row.reason.startswith("expected one row, found a quoted cell over 21 lines that are rows themselves")
    assert len(read(tmp_path, text, quoting="none").table) == 80


def test_a_quote_that_the_end_of_the_file_closes_is_refused(tmp_path):
    source = read(tmp_path, 'a,b\n1,"x\n2,y\n3,z\n')
    assert (len(source.table), source.size, source.bad[0].lines) == (0, 3, 3)


def test_prose_over_several_lines_stays_a_cell(tmp_path):
    review = "Good, all in all.\nWould buy, again\n\nor not"
    source = read(tmp_path, f'a,b\n1,"{review}"\n2,"{review}"\n')
    assert source.table["b"].to_pylist() == [review, review]
    assert source.lines([0, 1]) == {0: 2, 1: 6}


@pytest.mark.parametrize(("cell", "value"), [('"x y"', "x y"), ('"say ""hi"""', 'say "hi"'), ('5" disk', '5" disk')])
def test_quotes_of_tsv_are_syntax_only_where_all_of_them_are_well_formed(tmp_path, cell, value):
    assert read(tmp_path, f"a\tb\n1\t{cell}\n", name="x.tsv").table["b"].to_pylist() == [value]


def test_quoted_cells_may_hold_a_delimiter_of_many_characters(tmp_path):
    source = read(tmp_path, 'a::b\n"x::y"::1\n', delimiter="::", quoting="quotes")
    assert source.table.to_pylist() == [{"a": "x::y", "b": "1"}]


def test_a_control_character_that_stands_for_the_delimiter_rejects_its_row_alone(tmp_path):
    source = read(tmp_path, "a::b\n1::x\x1fy\n2::z\n", delimiter="::")
    assert source.table["a"].to_pylist() == ["2"]
    assert [(row.record, row.column) for row in source.bad] == [(0, "b")]
