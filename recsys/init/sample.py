"""A bounded look at a table: encoding, delimiter, header, and some of its rows as Arrow columns.

However large the files are, at most `MAX_ROWS` rows and `MAX_BYTES` bytes of text are read.
"""

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from recsys.data.config import TableConfig
from recsys.data.files import find_files
from recsys.errors import InputError

__all__ = ["MAX_BYTES", "MAX_ROWS", "Sample", "read_sample", "sniff_delimiter"]

MAX_ROWS = 100_000
MAX_BYTES = 1 << 24
_FILES = 4
_DELIMITERS = ",;\t|"
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_PARQUET = {".parquet", ".pq"}
_EXTENSIONS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PEEK = 50
_VALUE = re.compile(r"^[+-]?(\d+([.,]\d+)?|\d{4}-\d\d-\d\d.*)$")


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of a table.

    Attributes:
        config: How to read the table: path, and format and delimiter where the extension does not say them.
        columns: The columns with a usable name, plain Arrow arrays of equal length; text cells of CSV as they are.
        rows: How many rows the whole table has; an estimate unless `complete`.
        complete: Whether the sample is the whole table.
        unusable: Columns that cannot be named in a configuration, and why.
        remarks: What was noticed about the file, in words.
    """

    config: TableConfig
    columns: dict[str, pa.Array]
    rows: int
    complete: bool
    unusable: dict[str, str]
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Rows in the sample."""
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True, slots=True)
class _Part:
    """What was read of one file: its rows, and the share of the file they are."""

    table: pa.Table
    share: float


def read_sample(path: str, table: str, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> Sample:
    """Reads some rows of a file, a folder of files or a glob.

    Args:
        path: Where the table is.
        table: What messages call it: interactions, users, items.
        max_rows: Rows read at most.
        max_bytes: Bytes of text read at most.

    Raises:
        InputError: There is no such file, or it is no table: empty, binary, in another encoding, of one column,
            without header, or with a line longer than `max_bytes`.
    """
    config, files = _files(path, table)
    chosen = [files[int(at)] for at in np.unique(np.linspace(0, len(files) - 1, _FILES).astype(int))]
    rows, size = -(-max_rows // len(chosen)), max_bytes // len(chosen)
    remarks: tuple[str, ...] = ()
    if _is_parquet(files[0]):
        parts = [_parquet(file, rows) for file in chosen]
        names = parts[0].table.column_names
    else:
        config, names, remarks = _described(chosen[0], config, size)
        parts = [_csv(file, config.delimiter or _default(file), rows, size) for file in chosen]
    joined = _joined(parts, chosen)
    if not joined.num_rows:
        raise InputError(f"{path}: table {table}: found a header and no rows, expected at least one row")
    unusable = _unusable(names)
    usable = dict.fromkeys(name for name in names if name not in unusable)
    return Sample(
        config=config,
        columns={name: _plain(joined[name]) for name in usable if name in joined.column_names},
        rows=_total(parts, chosen, files),
        complete=len(chosen) == len(files) and all(part.share >= 1 for part in parts),
        unusable=unusable,
        remarks=remarks,
    )


def sniff_delimiter(text: str, usual: str = ",") -> str:
    r"""The delimiter that cuts the lines into the same number of cells, more than one.

    Args:
        text: The first lines of a file.
        usual: Preferred among equals.

    Returns:
        One of `,;\t|`; `usual` when no delimiter cuts anything.

    Example:
        >>> sniff_delimiter("user;item;price\n1;2;3\n")
        ';'
    """

    def fit(delimiter: str) -> tuple[float, int, bool]:
        counts = [len(row) for row in _rows(text, delimiter) if row][:_PEEK]
        width = counts[0] if counts else 1
        same = sum(count == width for count in counts) / max(len(counts), 1)
        return (same if width > 1 else 0.0, width, delimiter == usual)

    best = max(_DELIMITERS, key=fit)
    return best if fit(best)[0] > 0 else usual


def _files(path: str, table: str) -> tuple[TableConfig, list[Path]]:
    """The files of a table; a single file of any name is taken for delimited text."""
    config = TableConfig(path=path)
    found = find_files(config, table)
    known = found[0].suffixes[-2:-1] if found[0].suffix.lower() == ".gz" else found[0].suffixes[-1:]
    if not _is_parquet(found[0]) and not {suffix.lower() for suffix in known} & set(_EXTENSIONS):
        config = TableConfig(path=path, format="csv")
    return config, found


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in _PARQUET


def _default(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return _EXTENSIONS.get(suffixes[-1], ",") if suffixes else ","


def _head(path: Path, size: int) -> tuple[bytes, float]:
    """At most `size` bytes of content, whole lines, and the share of the file they are."""
    try:
        total = max(path.stat().st_size, 1)
        with path.open("rb") as raw:
            zipped = path.suffix.lower() == ".gz"
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
            content = stream.read(size)
            if not stream.read(1):
                return content, 1.0
            share = min(raw.tell() / total, 0.999)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: found a file that cannot be read ({error}), expected CSV or Parquet") from None
    cut = content.rfind(b"\n") + 1
    if not cut:
        raise InputError(
            f"{path}: found a first line longer than {size:,} bytes, expected a header and rows; "
            "is it a table, with a line break after each row?"
        )
    return content[:cut], share


def _described(path: Path, config: TableConfig, size: int) -> tuple[TableConfig, list[str], tuple[str, ...]]:
    """Delimiter and header of a delimited file, and what is worth saying of it."""
    content, _ = _head(path, size)
    text = _text(path, content)
    usual = _default(path)
    delimiter = sniff_delimiter(text[:65536], usual)
    rows = [row for row in _rows(text[:65536], delimiter) if row]
    if not rows:
        raise InputError(f"{path}: found an empty file, expected a header and rows")
    _check_header(path, rows, delimiter)
    remarks: tuple[str, ...] = ("starts with a byte order mark",) if content.startswith(b"\xef\xbb\xbf") else ()
    if delimiter != usual:
        config = config.model_copy(update={"delimiter": delimiter})
        remarks += (f"cells are set apart by a {_NAMES[delimiter]}",)
    return config, rows[0], remarks


def _text(path: Path, content: bytes) -> str:
    """The content as text.

    Raises:
        InputError: It is binary, or in another encoding than UTF-8.
    """
    convert = f"iconv -f {{}} -t UTF-8 {path.name} > utf8.csv"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: found UTF-16 text, expected UTF-8; convert it: {convert.format('UTF-16')}")
    first = content.partition(b"\n")[0]
    strange = sum(byte < 9 or 13 < byte < 32 for byte in content[:4096] if byte)
    if (
        b"\0" in first
        or 50 * strange > len(content[:4096])
        or content.startswith((b"PK\3\4", b"%PDF", b"PAR1", b"\x1f\x8b"))
    ):
        raise InputError(
            f"{path}: found binary data, expected CSV, TSV or Parquet; a spreadsheet is exported as CSV first, "
            "Parquet files end in .parquet, compressed text in .gz"
        )
    lines, broken = content.count(b"\n") + 1, 0
    if not _is_utf8(content):
        broken = sum(not _is_utf8(line) for line in content.split(b"\n"))
    if broken > 0.01 * lines:
        raise InputError(
            f"{path}: found bytes that are not UTF-8 in {broken:,} of {lines:,} lines, expected UTF-8; "
            f"convert it, for example: {convert.format('LATIN1')}"
        )
    return content.decode("utf-8-sig", errors="replace")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """The first rows of a text, as far as they can be read."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            rows.append(row)
            if len(rows) > 4 * _PEEK:
                break
    except csv.Error:
        pass
    return rows


def _check_header(path: Path, rows: list[list[str]], delimiter: str) -> None:
    """Refuses a file of one column, or one whose first line is a row already."""
    header, body = rows[0], rows[1:]
    if len(header) < 2:
        raise InputError(
            f"{path}:1: found one column ({_short(header[0])}), expected at least two, set apart by comma, semicolon, "
            "tab or pipe"
        )
    values = sum(bool(_VALUE.match(cell.strip())) for cell in header)
    again = sum(bool(cell) and any(len(row) > at and row[at] == cell for row in body) for at, cell in enumerate(header))
    if 2 * values >= len(header) or 2 * again > len(header):
        usual = ["user_id", "item_id", "timestamp", *(f"column{number}" for number in range(4, len(header) + 1))]
        example = delimiter.join(usual[: len(header)])
        raise InputError(
            f"{path}:1: found values ({_short(delimiter.join(header))}), expected the names of the columns; "
            f"put a line with names in front, such as {_short(example)}"
        )


def _short(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= 60 else clean[:57] + "..."


def _csv(path: Path, delimiter: str, rows: int, size: int) -> _Part:
    content, share = _head(path, size)
    if not content.strip():
        raise InputError(f"{path}: found an empty file, expected a header and rows")
    _text(path, content)
    names = [name for row in _rows(content[:65536].decode("utf-8-sig", "replace"), delimiter)[:1] for name in row]
    try:
        table = pa.csv.read_csv(
            io.BytesIO(content),
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=2 * size),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=lambda row: "skip"
            ),
            convert_options=pa.csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(names, pa.large_string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except pa.ArrowException as error:
        raise InputError(f"{path}: found a file that cannot be read ({error}), expected CSV") from None
    if share < 1 and table.num_rows > 1:
        # A row whose quoted cell holds a line break may have been cut.
        table = table.slice(0, table.num_rows - 1)
    kept = min(rows, table.num_rows)
    return _Part(_valid(table.slice(0, kept)), share * kept / max(table.num_rows, 1))


def _valid(table: pa.Table) -> pa.Table:
    """Without the rows whose text is not UTF-8: ingest rejects them, and nothing could read them."""
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        cells = [column.cast(pa.large_binary()).to_pylist() for column in table.columns]
        keep = [all(cell is None or _is_utf8(cell) for cell in row) for row in zip(*cells, strict=True)]
        return table.filter(pa.array(keep))
    return table


def _parquet(path: Path, rows: int) -> _Part:
    try:
        with pq.ParquetFile(path) as file:
            total = file.metadata.num_rows
            batch = next(file.iter_batches(batch_size=rows), None)
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: found a file that cannot be read ({error}), expected Parquet") from None
    table = schema.empty_table() if batch is None else pa.Table.from_batches([batch])
    return _Part(table, table.num_rows / total if total else 1.0)


def _joined(parts: list[_Part], files: list[Path]) -> pa.Table:
    common = [name for name in parts[0].table.column_names if all(name in p.table.column_names for p in parts)]
    unique = [name for name in dict.fromkeys(common) if all(p.table.column_names.count(name) == 1 for p in parts)]
    try:
        return pa.concat_tables([part.table.select(unique) for part in parts], promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"{files[0].parent}: found files whose columns differ in type ({error}), expected the same in all"
        ) from None


def _plain(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    text = pa.types.is_string(array.type) or pa.types.is_string_view(array.type)
    return array.cast(pa.large_string()) if text else array


def _unusable(names: list[str]) -> dict[str, str]:
    found = {name: f"{names.count(name)} columns have this name" for name in names if names.count(name) > 1}
    return found | {name: "it has no name" for name in names if not name.strip()}


def _total(parts: list[_Part], chosen: list[Path], files: list[Path]) -> int:
    read = sum(part.table.num_rows / max(part.share, 1e-9) for part in parts)
    sizes = {file: file.stat().st_size for file in files}
    return int(read * sum(sizes.values()) / max(sum(sizes[file] for file in chosen), 1) + 0.5)
