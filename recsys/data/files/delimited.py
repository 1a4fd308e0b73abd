"""Reads delimited text: cells as text, so that casting is vectorised and a cell that does not fit is known by its row.

A delimiter of one ASCII character is read by Arrow from the bytes as they are. Any other (`::`, runs of blanks) is
replaced by one control character first; where the text holds that character itself, its row is rejected. Quoted cells
may hold line breaks; the line of a row is the line it starts on. A row most of whose lines are whole rows is refused:
a quote that nothing closed would hide them.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recsys.data.config import TableConfig
from recsys.data.files.encoding import Encoding, encoding_of
from recsys.data.files.find import Format
from recsys.data.files.lines import LineCounter, LineMap, RowTooLong, Span, is_regular
from recsys.data.files.source import BadRow
from recsys.data.files.stream import BLOCK, BlockReader, text_blocks, whole_lines
from recsys.data.files.typed import plain_names
from recsys.errors import DataError

__all__ = ["DEFAULT_DELIMITERS", "Dialect", "dialect_of", "header_of", "read_delimited"]

DEFAULT_DELIMITERS: dict[Format, str] = {"csv": ",", "tsv": "\t"}
_BLANKS = "blanks"
_LINE = 1 << 16
_SPARE = b"\x1f"
# A byte that occurs in no UTF-8 text.
_NOT_UTF8 = b"\xff"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the text of a file is cut into cells.

    Attributes:
        delimiter: One or more characters, or `blanks`.
        quotes: Whether quotes around a cell are syntax.
        encoding: Of the bytes.
    """

    delimiter: str
    quotes: bool
    encoding: Encoding

    @property
    def translated(self) -> bool:
        """Whether delimiters are replaced by a control character."""
        return len(self.delimiter) > 1 or not self.delimiter.isascii()

    @property
    def separator(self) -> bytes:
        """The byte that stands between cells in `blocks`."""
        return _SPARE if self.translated else self.delimiter.encode()

    def blocks(self, path: Path, size: int = BLOCK) -> Iterator[bytes]:
        """The text of a file as UTF-8, cells set apart by one byte; so many bytes are read at a time."""
        return self.separated(text_blocks(path, self.encoding.name, size))

    def separated(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Decoded text, cells set apart by one byte."""
        return map(self._translate, whole_lines(blocks)) if self.translated else iter(blocks)

    def _translate(self, text: bytes) -> bytes:
        text = text.replace(_SPARE, _NOT_UTF8)
        if self.delimiter != _BLANKS:
            return text.replace(self.delimiter.encode(), _SPARE)
        text = re.sub(rb"[ \t]+", _SPARE, text)
        for end in (b"\n", b"\r"):
            text = text.replace(_SPARE + end, end).replace(end + _SPARE, end)
        return text.removeprefix(_SPARE).removesuffix(_SPARE)


def dialect_of(path: Path, kind: Format, config: TableConfig) -> Dialect:
    """How a file is cut into cells, from the settings and, where these leave it open, from the file."""
    encoding = encoding_of(path, config)
    delimiter = config.delimiter or DEFAULT_DELIMITERS[kind]
    dialect = Dialect(delimiter, config.quoting == "quotes", encoding)
    if config.quoting != "auto" or len(delimiter) > 1:
        return dialect
    quotes = delimiter != "\t" or _all_regular(dialect.blocks(path))
    return Dialect(delimiter, quotes, encoding)


def header_of(path: Path, dialect: Dialect, config: TableConfig) -> list[str]:
    """The cells of the first row: names with their declared types, unless the settings name the columns.

    Raises:
        DataError: The file is empty, its header cannot be decoded, or it has not as many columns as the settings name.
    """
    first = _first_row(path, dialect)
    if not first:
        raise DataError(f"{path}: found an empty file, expected a header and rows")
    if config.header is not None:
        if len(first) != len(config.header):
            raise DataError(
                f"{path}:1: found {len(first)} columns, expected the {len(config.header)} that header names: "
                f"{', '.join(config.header)}; check header and delimiter"
            )
        return list(config.header)
    if any("\udc80" <= letter <= "\udcff" for name in first for letter in name):
        name = "UTF-8" if dialect.encoding.name == "utf-8" else dialect.encoding.name
        raise DataError(f"{path}:1: found bytes that are not {name} in the header, expected {name} text; set encoding")
    return first


def _first_row(path: Path, dialect: Dialect) -> list[str]:
    first: list[str] = []
    # Nearly always the first line: reading all of a block costs as much as parsing a tenth of it.
    for size in (_LINE, BLOCK):
        text = BlockReader(dialect.blocks(path, size)).read(size).decode("utf-8", "surrogateescape")
        rows = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=dialect.separator.decode(),
            quoting=csv.QUOTE_MINIMAL if dialect.quotes else csv.QUOTE_NONE,
        )
        first = next((row for row in rows if row), [])
        if next(rows, None) is not None:
            break
    return first


def read_delimited(
    path: Path,
    dialect: Dialect,
    header: Sequence[str],
    columns: Sequence[str],
    *,
    named: bool,
    blocks: Iterable[bytes] | None = None,
) -> tuple[pa.Table, list[BadRow], LineMap]:
    """The columns as text, the rows that are none, and the lines of all.

    Args:
        path: The file.
        dialect: How it is cut into cells.
        header: From `header_of`.
        columns: Names without types.
        named: Whether the settings name the columns, so that the first row is data.
        blocks: What to read of the file, from `Dialect.separated`; `None`: all of it.
    """
    raw = dict(zip(plain_names(header), header, strict=True))
    skipped = 0 if named else 1
    counter = LineCounter(dialect.separator, len(header), quotes=dialect.quotes)
    bad: dict[int, BadRow] = {}

    def reject(row: pa.csv.InvalidRow) -> str:
        reason = f"expected {row.expected_columns} columns, found {row.actual_columns}"
        # Numbers count rows from 1 with the header, and are only known when one thread reads.
        record = row.number - 1 - skipped
        bad[record] = BadRow(record, None, _restored(row.text, dialect), reason)
        return "skip"

    try:
        table = _parse(
            counter.watch(dialect.blocks(path) if blocks is None else blocks, BLOCK),
            dialect,
            list(header) if named else None,
            [raw[name] for name in columns],
            reject,
        )
    except RowTooLong as error:
        raise DataError(
            f"{path}:{error.line}: found a row of more than {BLOCK >> 20} MB, expected shorter ones "
            "(a quote that nothing closes, or not a table?)"
        ) from error
    except pa.ArrowInvalid as error:
        # Of a header that no line break ends.
        if "Empty CSV file or block" not in str(error):
            raise
        table = pa.table({raw[name]: pa.array([], pa.large_string()) for name in columns})
    table = table.rename_columns(list(columns))
    _check_counts(path, counter, table.num_rows + len(bad) + skipped)
    table = _with_bad_spans(table, counter.spans, bad, skipped)
    if dialect.quotes and dialect.translated:
        table = _restored_cells(table, dialect)
    return table, [bad[record] for record in sorted(bad)], counter.line_map(skipped)


def _parse(
    blocks: Iterable[bytes],
    dialect: Dialect,
    names: list[str] | None,
    columns: list[str],
    reject: Callable[[pa.csv.InvalidRow], str],
) -> pa.Table:
    return pa.csv.read_csv(
        pa.PythonFile(BlockReader(blocks), mode="r"),
        read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=names),
        parse_options=pa.csv.ParseOptions(
            delimiter=dialect.separator.decode(),
            quote_char='"' if dialect.quotes else False,
            newlines_in_values=dialect.quotes,
            invalid_row_handler=reject,
        ),
        convert_options=pa.csv.ConvertOptions(
            check_utf8=False,
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.large_string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )


def _with_bad_spans(table: pa.Table, spans: Sequence[Span], bad: dict[int, BadRow], skipped: int) -> pa.Table:
    """Takes out the rows that swallow others, and says of every bad row how many lines it covers."""
    records = np.delete(np.arange(table.num_rows + len(bad)), list(bad))
    swallowing = []
    for span in spans:
        record = span.row - skipped
        if record in bad:
            row = bad[record]
            reason = f"{row.reason} over {span.lines} lines (a quote that nothing closes?)"
            bad[record] = BadRow(record, None, row.value, reason, span.lines)
        elif span.swallows:
            swallowing.append(record)
            reason = (
                f"expected one row, found a quoted cell over {span.lines} lines that are rows themselves "
                "(a quote that nothing closes? quoting: none reads quotes as text)"
            )
            row_at = int(np.searchsorted(records, record))
            cells = table.slice(row_at, 1).to_pylist()[0].values() if table.num_columns else ()
            found = next((str(cell) for cell in cells if cell is not None and "\n" in str(cell)), "")
            bad[record] = BadRow(record, None, found, reason, span.lines)
    return table.filter(pa.array(~np.isin(records, swallowing))) if swallowing else table


def _check_counts(path: Path, counter: LineCounter, rows: int) -> None:
    """Two independent counts of the rows agree: none is lost without a word."""
    if counter.rows != rows:
        raise DataError(
            f"{path}: found {counter.rows:,} rows by its lines and {rows:,} by its cells, expected the same; "
            "set quoting to quotes or none, or convert the file to Parquet"
        )


def _restored(text: str, dialect: Dialect) -> str:
    blank = " " if dialect.delimiter == _BLANKS else dialect.delimiter
    return text.replace(_SPARE.decode(), blank) if dialect.translated else text


def _restored_cells(table: pa.Table, dialect: Dialect) -> pa.Table:
    """Delimiters within quoted cells, which were replaced like all others."""
    blank = " " if dialect.delimiter == _BLANKS else dialect.delimiter
    columns = [
        pc.replace_substring(column.cast(pa.large_binary()), _SPARE, blank.encode()).cast(pa.large_string(), safe=False)
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def _all_regular(blocks: Iterable[bytes]) -> bool:
    """Whether every quote of a file opens or closes a cell of one line."""
    for text in whole_lines(blocks):
        lines = text.replace(b"\r", b"\n")
        if b'"' in lines and not is_regular(lines, ord("\t")):
            return False
    return True
