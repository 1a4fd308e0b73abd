"""Finds the files of a table and reads their columns as they are, telling for every row where it came from.

CSV cells are read as text, so that casting is vectorised and a cell that does not fit is known by its row. Quoted cells
may hold line breaks; the line of a row is the line it starts on.
"""

import csv
import difflib
import glob
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.data.config import TableConfig
from recsys.errors import DataError

__all__ = ["BadRow", "Source", "column_names", "find_files", "read_source"]

Format = Literal["csv", "tsv", "parquet"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_LABELS = {"csv": "CSV", "tsv": "TSV", "parquet": "Parquet"}
# One row must fit into a block; a larger block costs nothing for small files.
_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not even be read into columns.

    Attributes:
        record: Its index among the rows of the file, from 0.
        column: The column it broke in; `None` where the row as a whole is malformed.
        value: What was found.
        reason: What was expected.
        lines: How many lines of the file it swallowed: many, after a quote that nothing closes.
    """

    record: int
    column: str | None
    value: str
    reason: str
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Source:
    """One file, read.

    Attributes:
        path: The file.
        table: The wanted columns; text is `large_string`, dictionaries are decoded.
        records: The index of each row of `table` among the rows of the file, from 0, shape (N,).
        bad: The rows that are not in `table`.
        delimiter: `None` for Parquet.
        sha256: Of the bytes of the file.
    """

    path: Path
    table: pa.Table
    records: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    delimiter: str | None
    sha256: str

    @property
    def size(self) -> int:
        """Rows in the file, unreadable ones included."""
        return len(self.records) + sum(bad.lines for bad in self.bad)

    def lines(self, records: Iterable[int]) -> dict[int, int]:
        """The line of each record, from 1: the header is line 1 of a CSV file; of Parquet, the row number."""
        wanted = sorted(set(records))
        if self.delimiter is None or not wanted:
            return {record: record + 1 for record in wanted}
        found: dict[int, int] = {}
        for record, line in enumerate(_record_lines(self.path, self.delimiter), start=-1):
            if record > wanted[-1]:
                break
            found[record] = line
        return {record: found[record] for record in wanted if record in found}


def find_files(config: TableConfig, table: str) -> list[Path]:
    """The files of a table in sorted order: the file itself, all below a folder, or all that a pattern matches.

    Below folders and patterns, files and folders whose names start with `.` or `_` (such as `_SUCCESS`) and files that
    are not tables by their extension are passed over.

    Raises:
        DataError: There is no such file.
    """
    root = Path(config.path)
    if root.is_file():
        return [root]
    if root.is_dir():
        below = sorted(path for path in root.rglob("*") if _is_part(path, root, config))
        if not below:
            raise DataError(f"{root}: table {table}: found a folder without data files, expected {_expected(config)}")
        return below
    matches = sorted(Path(match) for match in glob.glob(config.path, recursive=True))
    files = [path for path in matches if _is_part(path, Path(), config)]
    if not files:
        raise DataError(
            f"{config.path}: table {table}: found no such file, expected a file, a folder of files or a pattern "
            f"(paths are relative to {Path.cwd()})"
        )
    return files


def column_names(path: Path, config: TableConfig) -> list[str]:
    """The columns of a file, in order.

    Raises:
        DataError: The file is unreadable or empty.
    """
    kind = _format(path, config)
    with _readable(path, kind):
        if kind == "parquet":
            with pq.ParquetFile(path) as file:
                return list(file.schema_arrow.names)
        # Decoding runs ahead of the header; bytes further on are the matter of their own rows.
        with _text(path, "surrogateescape") as stream:
            # In lines of bounded length: the first of a file that is no table may be all of it.
            lines = iter(lambda: stream.readline(_BLOCK), "")
            header = next(csv.reader(lines, delimiter=_delimiter(kind, config)), [])
    if any("\udc80" <= letter <= "\udcff" for name in header for letter in name):
        raise DataError(f"{path}:1: found bytes that are not UTF-8 in the header, expected UTF-8 text")
    if not header:
        raise DataError(f"{path}: found an empty file, expected a header and rows")
    return header


def read_source(path: Path, config: TableConfig, columns: Sequence[str]) -> Source:
    """Reads columns of one file.

    Raises:
        DataError: The file is unreadable, empty, or lacks a column.
    """
    kind = _format(path, config)
    _check_columns(path, column_names(path, config), columns, "" if kind == "parquet" else ":1")
    bad: list[BadRow] = []
    delimiter = None if kind == "parquet" else _delimiter(kind, config)
    with _readable(path, kind):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        raw = _read_parquet(path, columns) if delimiter is None else _read_csv(path, delimiter, columns, bad)
    table = pa.table({name: _plain(raw[name]) for name in columns})
    records = np.delete(np.arange(table.num_rows + len(bad), dtype=np.int64), [row.record for row in bad])
    table, records, broken = _drop_broken_text(table, records)
    return Source(path, table, records, tuple(bad + broken), delimiter, sha256)


@contextmanager
def _readable(path: Path, kind: Format) -> Iterator[None]:
    """Turns what readers raise over a damaged file into a message that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path}: found a file that cannot be read ({error}), expected {_LABELS[kind]}") from error


def _delimiter(kind: Format, config: TableConfig) -> str:
    return config.delimiter or _DELIMITERS[kind]


def _is_part(path: Path, root: Path, config: TableConfig) -> bool:
    parts = path.relative_to(root).parts if root != Path() else path.parts[-1:]
    hidden = any(part.startswith((".", "_")) for part in parts)
    known = config.format != "auto" or config.delimiter is not None or _by_extension(path) is not None
    return path.is_file() and not hidden and known


def _by_extension(path: PurePath) -> Format | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def _format(path: Path, config: TableConfig) -> Format:
    if config.format != "auto":
        return config.format
    kind = _by_extension(path)
    if kind is None and config.delimiter is None:
        raise DataError(
            f"{path}: found the extension {path.suffix!r}, expected {_expected(config)}; "
            "or set format: csv, tsv or parquet"
        )
    return kind or "csv"


def _expected(config: TableConfig) -> str:
    return f"{config.format} files" if config.format != "auto" else " or ".join([", ".join(list(_FORMATS)[:-1]), ".pq"])


def _check_columns(path: Path, found: Sequence[str], wanted: Sequence[str], line: str) -> None:
    for column in wanted:
        if found.count(column) > 1:
            raise DataError(f"{path}{line}: column {column}: found {found.count(column)} of that name, expected one")
        if column not in found:
            close = difflib.get_close_matches(column, found, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise DataError(f"{path}{line}: column {column}: found only {', '.join(found)}, expected {column}{hint}")


def _read_parquet(path: Path, columns: Sequence[str]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(columns=list(columns))


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One chunk, dictionary decoded, text in 64-bit offsets so that joining files cannot overflow."""
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    return array


def _read_csv(path: Path, delimiter: str, columns: Sequence[str], bad: list[BadRow]) -> pa.Table:
    """The columns as text; malformed rows are added to `bad`."""

    def reject(row: pa.csv.InvalidRow) -> str:
        reason = f"expected {row.expected_columns} columns, found {row.actual_columns}"
        breaks = row.text.count("\n")
        if breaks:
            reason += f" over {breaks + 1} lines (a quote that nothing closes?)"
        # Numbers count rows from 1 with the header, and are only known when one thread reads.
        bad.append(BadRow(row.number - 2, None, row.text, reason, breaks + 1))
        return "skip"

    with _rows_that_fit(path, delimiter), pa.input_stream(str(path)) as stream:
        return pa.csv.read_csv(
            stream,
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=reject),
            convert_options=pa.csv.ConvertOptions(
                check_utf8=False,
                include_columns=list(columns),
                column_types=dict.fromkeys(columns, pa.large_string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )


@contextmanager
def _rows_that_fit(path: Path, delimiter: str) -> Iterator[None]:
    """Names the line where a row is larger than a block."""
    try:
        yield
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
        line = _long_line(path)
        if line is None:
            line = list(_record_lines(path, delimiter))[-1]
        raise DataError(
            f"{path}:{line}: found a row of more than {_BLOCK >> 20} MB, expected shorter ones "
            "(a quote that nothing closes, or not a table?)"
        ) from error


def _long_line(path: Path) -> int | None:
    """The first line that is longer than a block; read in small pieces, however long it is."""
    line, start, at = 1, 0, 0
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            ends = np.flatnonzero(np.frombuffer(piece, dtype=np.uint8) == ord("\n")) + at
            at += len(piece)
            lengths = np.diff(np.concatenate([[start], ends, [at]]))
            long = np.flatnonzero(lengths > _BLOCK)
            if len(long):
                return line + int(long[0])
            if len(ends):
                line, start = line + len(ends), int(ends[-1]) + 1
    return None


def _text(path: Path, errors: str) -> io.TextIOWrapper:
    if path.suffix.lower() == ".gz":
        return io.TextIOWrapper(gzip.GzipFile(path), encoding="utf-8-sig", errors=errors, newline="")
    return path.open(encoding="utf-8-sig", errors=errors, newline="")


def _record_lines(path: Path, delimiter: str) -> Iterator[int]:
    """The line on which each row starts, the header first; blank lines are no rows."""
    with _text(path, "replace") as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        start = 1
        while True:
            try:
                cells = next(reader)
            except (StopIteration, csv.Error):
                # A cell beyond the reader's limit follows a quote that nothing closes: its start is still known.
                yield start
                return
            if cells:
                yield start
            start = reader.line_num + 1


def _drop_broken_text(table: pa.Table, records: NDArray[np.int64]) -> tuple[pa.Table, NDArray[np.int64], list[BadRow]]:
    """Takes out rows with text that is not UTF-8: no later step could read them."""
    broken: dict[int, BadRow] = {}
    for name in table.column_names:
        for row, value in _broken_cells(table[name].combine_chunks()):
            broken.setdefault(row, BadRow(int(records[row]), name, value, "expected UTF-8 text"))
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
