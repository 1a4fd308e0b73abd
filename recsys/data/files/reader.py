"""The entrance: which columns a file has, and its rows, whatever its format."""

import difflib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.config import TableConfig
from recsys.data.files import delimited, parquet, records, spreadsheet
from recsys.data.files.encoding import Encoding, encoding_of
from recsys.data.files.find import Format, format_of
from recsys.data.files.lines import LineMap
from recsys.data.files.source import BadRow, Source
from recsys.data.files.stream import beginning, decode_blocks, readable
from recsys.data.files.typed import DeclaredType, plain_names, typed_name
from recsys.errors import DataError

__all__ = ["Head", "column_names", "declared_types", "read_head", "read_source"]


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a reader of one format hands over; see `Source`."""

    table: pa.Table
    bad: list[BadRow] = field(default_factory=list)
    line_map: LineMap | None = None
    encoding: str | None = None
    notes: tuple[str, ...] = ()


def column_names(path: Path, config: TableConfig) -> list[str]:
    """The columns of a file, in order; without the types that a header declares; nested ones with dots.

    Of JSON lines, the fields of the first records.

    Raises:
        DataError: The file is unreadable or empty.
    """
    kind = format_of(path, config)
    with readable(path, kind):
        if kind == "parquet":
            return parquet.column_names(path)
        if kind == "jsonl":
            return records.column_names(path, encoding_of(path, config).name)
        if kind == "excel":
            return spreadsheet.read_sheet(path, config).header
        dialect = delimited.dialect_of(path, kind, config)
        return plain_names(delimited.header_of(path, dialect, config))


def declared_types(path: Path, config: TableConfig) -> dict[str, DeclaredType]:
    """The types that the header of a delimited file declares (`rating:float`), by name; empty without such a header.

    Raises:
        DataError: The file is unreadable or empty.
    """
    kind = format_of(path, config)
    if kind not in ("csv", "tsv") or config.header is not None:
        return {}
    with readable(path, kind):
        header = delimited.header_of(path, delimited.dialect_of(path, kind, config), config)
    typed = [typed_name(cell) for cell in header]
    return {cell.name: cell.type for cell in typed if cell.type} if plain_names(header) != header else {}


@dataclass(frozen=True, slots=True)
class Head:
    """Some rows from the beginning of a file.

    Attributes:
        names: The columns of the file, in order, repeated names included.
        table: Those whose name is there once, as in `Source`; rows that cannot be read are left out.
        share: The share of the file that these rows are; 1 for the whole file.
        unreadable: Columns that cannot be read, and why.
    """

    names: list[str]
    table: pa.Table
    share: float
    unreadable: dict[str, str] = field(default_factory=dict)


def read_head(path: Path, config: TableConfig, *, rows: int, size: int) -> Head:
    """Reads some rows of a file, however large it is.

    Args:
        path: The file.
        config: How it is written.
        rows: Rows at most.
        size: Bytes of text at most.

    Raises:
        DataError: The file is unreadable or empty.
    """
    kind = format_of(path, config)
    with readable(path, kind):
        if kind == "parquet":
            table, unreadable, share = parquet.read_head(path, rows)
            return Head(parquet.column_names(path), table, share, unreadable)
        if kind == "excel":
            sheet = spreadsheet.read_sheet(path, config)
            return _cut(Head(sheet.header, sheet.columns(_once(sheet.header)), 1.0), rows)
        return _cut(_text_head(path, kind, config, size), rows)


def _text_head(path: Path, kind: Format, config: TableConfig, size: int) -> Head:
    content, share = beginning(path, size)
    encoding = encoding_of(path, config)
    text = b"".join(decode_blocks([content], encoding.name))
    if share < 1:
        text = text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1]
    if kind == "jsonl":
        names = records.column_names(path, encoding.name)
        found, _, _ = records.read_records(path, encoding.name, names, [text])
        # A field may occur further on only.
        names = [name for name in names if name in found]
        table = pa.table({name: found[name] for name in names})
    else:
        dialect = delimited.dialect_of(path, kind, config)
        header = delimited.header_of(path, dialect, config)
        names = plain_names(header)
        table, _, _ = delimited.read_delimited(
            path, dialect, header, _once(names), named=config.header is not None, blocks=dialect.separated([text])
        )
        if share < 1 and table.num_rows > 1:
            # The quoted cell of the last row may have been cut.
            table = table.slice(0, table.num_rows - 1)
    table, _, _ = _drop_broken_text(table, np.arange(table.num_rows), encoding.name)
    return Head(names, table, share)


def _once(names: Sequence[str]) -> list[str]:
    return [name for name in names if names.count(name) == 1]


def _cut(head: Head, rows: int) -> Head:
    share = head.share * min(rows / max(head.table.num_rows, 1), 1.0)
    return replace(head, table=head.table.slice(0, rows), share=share)


def read_source(path: Path, config: TableConfig, columns: Sequence[str]) -> Source:
    """Reads columns of one file.

    Raises:
        DataError: The file is unreadable, empty, or lacks a column.
    """
    kind = format_of(path, config)
    with readable(path, kind):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        rows = _READERS[kind](path, config, columns)
    found = np.delete(np.arange(rows.table.num_rows + len(rows.bad), dtype=np.int64), [row.record for row in rows.bad])
    table, found, broken = _drop_broken_text(rows.table, found, rows.encoding or "utf-8")
    return Source(
        path=path,
        table=table,
        records=found,
        bad=tuple(rows.bad + broken),
        line_map=rows.line_map,
        sha256=sha256,
        encoding=rows.encoding,
        notes=rows.notes,
    )


def _read_delimited(path: Path, config: TableConfig, columns: Sequence[str]) -> _Rows:
    dialect = delimited.dialect_of(path, format_of(path, config), config)
    header = delimited.header_of(path, dialect, config)
    _check_columns(path, plain_names(header), columns, ":1")
    named = config.header is not None
    table, bad, line_map = delimited.read_delimited(path, dialect, header, columns, named=named)
    return _Rows(table, bad, line_map, dialect.encoding.name, _encoding_notes(dialect.encoding))


def _read_records(path: Path, config: TableConfig, columns: Sequence[str]) -> _Rows:
    encoding = encoding_of(path, config)
    found, bad, line_map = records.read_records(path, encoding.name, columns)
    missing = [name for name in columns if name not in found]
    if missing:
        _check_columns(path, records.column_names(path, encoding.name), missing, "")
    table = pa.table({name: found[name] for name in columns})
    return _Rows(table, bad, line_map, encoding.name, _encoding_notes(encoding))


def _read_parquet(path: Path, config: TableConfig, columns: Sequence[str]) -> _Rows:
    _check_columns(path, parquet.column_names(path), columns, "")
    return _Rows(parquet.read_columns(path, columns))


def _read_spreadsheet(path: Path, config: TableConfig, columns: Sequence[str]) -> _Rows:
    sheet = spreadsheet.read_sheet(path, config)
    _check_columns(path, sheet.header, columns, ":1")
    notes = (f"only the first sheet is read, not {', '.join(sheet.others)}",) if sheet.others else ()
    return _Rows(sheet.columns(columns), line_map=sheet.line_map(), notes=notes)


def _encoding_notes(encoding: Encoding) -> tuple[str, ...]:
    return () if encoding.assumed else (f"read as {encoding.name} ({encoding.reason})",)


_READERS: dict[Format, Callable[[Path, TableConfig, Sequence[str]], _Rows]] = {
    "csv": _read_delimited,
    "tsv": _read_delimited,
    "jsonl": _read_records,
    "excel": _read_spreadsheet,
    "parquet": _read_parquet,
}


def _check_columns(path: Path, found: Sequence[str], wanted: Sequence[str], line: str) -> None:
    for column in wanted:
        if found.count(column) > 1:
            raise DataError(f"{path}{line}: column {column}: found {found.count(column)} of that name, expected one")
        if column not in found:
            close = difflib.get_close_matches(column, found, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise DataError(f"{path}{line}: column {column}: found only {', '.join(found)}, expected {column}{hint}")


def _drop_broken_text(
    table: pa.Table, records: NDArray[np.int64], encoding: str
) -> tuple[pa.Table, NDArray[np.int64], list[BadRow]]:
    """Takes out rows with text that could not be decoded: no later step could read them."""
    expected = f"expected {'UTF-8' if encoding == 'utf-8' else encoding} text"
    broken: dict[int, BadRow] = {}
    for name in table.column_names:
        for row, value in _broken_cells(table[name].combine_chunks()):
            broken.setdefault(row, BadRow(int(records[row]), name, value, expected))
    if not broken:
        return table, records, []
    keep = np.ones(len(records), dtype=np.bool_)
    keep[list(broken)] = False
    return table.filter(pa.array(keep)), records[keep], list(broken.values())


def _broken_cells(column: pa.Array) -> Iterator[tuple[int, str]]:
    if not pa.types.is_large_string(column.type):
        return
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        cells: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
        for row, cell in enumerate(cells):
            if cell is not None and not _is_utf8(cell):
                yield row, cell.decode("utf-8", errors="backslashreplace")


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
