"""A bounded look at a table: format, encoding, delimiter, header, and some of its rows as Arrow columns.

However large the files are, at most `MAX_ROWS` rows and `MAX_BYTES` bytes of text are read; spreadsheets are
read whole.
"""

import io
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from recsys.data.columns import Role, parse
from recsys.data.config import TableConfig
from recsys.data.files import (
    DeclaredType,
    Format,
    column_names,
    find_files,
    format_of,
    parquet,
    read_source,
    sniff,
    typed_name,
)
from recsys.data.files.delimited import DEFAULT_DELIMITERS, Dialect, header_of
from recsys.data.files.encoding import encoding_of
from recsys.data.files.find import LABELS
from recsys.data.files.lines import is_regular
from recsys.data.files.records import read_records
from recsys.data.files.stream import BLOCK, beginning, decode_blocks, readable
from recsys.data.files.typed import plain_names
from recsys.data.plain import UnreadableTypeError, plain_array
from recsys.errors import DataError, InputError
from recsys.init.headless import GUESSED_FROM, guess_names

__all__ = ["HEADER_FLAGS", "MAX_BYTES", "MAX_ROWS", "Sample", "read_sample"]

MAX_ROWS = 100_000
MAX_BYTES = 1 << 24
_FILES = 4
HEADER_FLAGS = {"interactions": "--columns", "users": "--user-columns", "items": "--item-columns"}
_PEEK = 1 << 16
_SPARE = 31
"""Stands between cells whose delimiter is of several characters."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of a table.

    Attributes:
        config: How to read the table: path, and what the files leave open.
        columns: The columns with a usable name, plain Arrow arrays of equal length; text cells of CSV as they are.
        rows: How many rows the whole table has; an estimate unless `complete`.
        complete: Whether the sample is the whole table.
        unusable: Columns that cannot be named in a configuration, and why.
        remarks: What was noticed about the file, in words.
        declared: Types that the header declares, by column.
        guessed: Settings of `config` that were guessed, and from what.
    """

    config: TableConfig
    columns: dict[str, pa.Array]
    rows: int
    complete: bool
    unusable: dict[str, str]
    remarks: tuple[str, ...] = ()
    declared: dict[str, DeclaredType] = field(default_factory=dict)
    guessed: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Rows in the sample."""
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True, slots=True)
class _Part:
    """What was read of one file: its rows, the share of the file they are, and the columns that cannot be read."""

    table: pa.Table
    share: float
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Form:
    """How the files of a table are read.

    Attributes:
        config: The settings.
        kind: The format.
        names: Of the columns, in order.
        declared: Types that the header declares.
        remarks: What is worth saying.
        guessed: Settings that were guessed, and from what.
    """

    config: TableConfig
    kind: Format
    names: list[str]
    declared: dict[str, DeclaredType] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    guessed: dict[str, str] = field(default_factory=dict)


def read_sample(
    path: str,
    table: str,
    *,
    header: Sequence[str] | None = None,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
) -> Sample:
    """Reads some rows of a file, a folder of files or a glob.

    Args:
        path: Where the table is.
        table: What messages call it: interactions, users, items.
        header: Names of the columns of files that have no header.
        max_rows: Rows read at most.
        max_bytes: Bytes of text read at most.

    Raises:
        InputError: There is no such file, or it is no table: empty, binary, of one column, without header, or with a
            line longer than `max_bytes`.
    """
    config, files = _files(path, table, header)
    chosen = [files[int(at)] for at in np.unique(np.linspace(0, len(files) - 1, _FILES).astype(int))]
    rows, size = -(-max_rows // len(chosen)), max_bytes // len(chosen)
    form = _form(chosen, config, table, size)
    parts = [_part(file, form, rows, size) for file in chosen]
    joined = _joined(parts, chosen)
    if not joined.num_rows:
        raise InputError(f"{path}: table {table}: found a header and no rows, expected at least one row")
    unusable = _unusable(form.names)
    usable = dict.fromkeys(name for name in form.names if name not in unusable)
    there = set(joined.column_names)
    absent = [name for name in usable if name not in there]
    reasons = {name: why for part in parts for name, why in part.unreadable.items()}
    unusable |= {name: reasons.get(name, "not every file has it") for name in absent}
    columns = {name: _readable(joined[name]) for name in usable if name in there}
    config = form.config
    if config.decimal != "." or config.thousands is not None:
        columns = {name: _without_marks(values, config) for name, values in columns.items()}
    return Sample(
        config=config,
        columns=columns,
        rows=_total(parts, chosen, files),
        complete=len(chosen) == len(files) and all(part.share >= 1 for part in parts),
        unusable=unusable,
        remarks=form.remarks,
        declared=form.declared,
        guessed=form.guessed,
    )


def _files(path: str, table: str, header: Sequence[str] | None) -> tuple[TableConfig, list[Path]]:
    """The files of a table; a single file of an unknown extension is JSON lines or delimited text."""
    settings: dict[str, Any] = {"path": path} | ({"header": tuple(header)} if header else {})
    found = find_files(TableConfig(**settings), table)
    try:
        kind = format_of(found[0], TableConfig(**settings))
    except DataError:
        kind = "jsonl" if _starts_with(found[0], (b"{",)) else "csv"
        settings["format"] = kind
    if header and kind in ("jsonl", "parquet"):
        what = f"found names for {LABELS[kind]}, which names its own columns; leave it out"
        raise InputError(f"{found[0]}: {HEADER_FLAGS[table]}: {what}")
    return TableConfig(**settings), found


def _starts_with(path: Path, marks: tuple[bytes, ...]) -> bool:
    try:
        with readable(path, "csv"):
            content, _ = beginning(path, _PEEK)
    except DataError:
        return False
    return content.lstrip(b"\xef\xbb\xbf \t\r\n" if b"{" in marks else b"").startswith(marks)


# What the files are like


def _form(files: Sequence[Path], config: TableConfig, table: str, size: int) -> _Form:
    kind = format_of(files[0], config)
    if kind in ("parquet", "excel"):
        return _Form(config, kind, column_names(files[0], config))
    config, remarks, guessed = _with_encoding(files, config)
    if kind == "jsonl":
        names = dict.fromkeys(name for file in files for name in column_names(file, config))
        return _Form(config, kind, list(names), {}, remarks, guessed)
    return _text_form(files[0], _Form(config, kind, [], {}, remarks, guessed), table, size)


def _with_encoding(files: Sequence[Path], config: TableConfig) -> tuple[TableConfig, tuple[str, ...], dict[str, str]]:
    """The encoding, where it is another than UTF-8 and that of all files."""
    with readable(files[0], format_of(files[0], config)):
        found = [encoding_of(file, config) for file in files]
    first = found[0]
    if any(other.name != first.name for other in found):
        return config, ("encodings differ from file to file: each is recognised by itself",), {}
    if first.name == "utf-8":
        marked = _starts_with(files[0], (BOM_UTF8,))
        return config, ("starts with a byte order mark",) if marked else (), {}
    if first.reason == "byte order mark":
        return config, (f"{first.name} by its byte order mark",), {}
    return config.model_copy(update={"encoding": first.name}), (), {"encoding": first.reason}


def _text_form(path: Path, form: _Form, table: str, size: int) -> _Form:
    """Delimiter, quoting, header and marks in numbers of delimited files."""
    config = form.config
    content, _ = _head(path, Dialect(",", True, encoding_of(path, config)), size)
    _check_text(path, content)
    sniffed = sniff(path, config)
    if not sniffed.rows:
        raise InputError(f"{path}: found an empty file, expected a header and rows")
    update, remarks, guessed = {}, form.remarks, dict(form.guessed)
    for key, value in sniffed.settings.items():
        update[key] = value
        if key == "delimiter":
            remarks += (sniffed.reasons[key],)
        else:
            guessed[key] = sniffed.reasons[key]
    delimiter = update.get("delimiter") or config.delimiter or DEFAULT_DELIMITERS[form.kind]
    names, declared = list(sniffed.rows[0]), {}
    _check_width(path, names, config.header, table)
    if config.header is not None:
        names = list(config.header)
    elif not sniffed.has_header:
        found = guess_names(sniffed.rows) if table == "interactions" else None
        if found is None:
            raise InputError(_no_header(path, names, delimiter, table))
        update["header"], names = found, list(found)
        guessed["header"] = f"no header line; {GUESSED_FROM}"
    elif plain_names(names) != names:
        declared = {cell.name: cell.type for cell in map(typed_name, names) if cell.type}
        names = plain_names(names)
        remarks += ("the header declares types",)
    return _Form(config.model_copy(update=update), form.kind, names, declared, remarks, guessed)


def _check_width(path: Path, first: Sequence[str], header: Sequence[str] | None, table: str) -> None:
    if len(first) < 2:
        raise InputError(
            f"{path}:1: found one column ({_short(first[0])}), expected at least two, set apart by comma, semicolon, "
            "tab, pipe, :: or blanks"
        )
    if header is not None and len(first) != len(header):
        raise InputError(
            f"{path}:1: {HEADER_FLAGS[table]}: found {len(header)} names for {len(first)} columns "
            f"({_short(', '.join(first))}), expected a name for each"
        )


def _no_header(path: Path, first: Sequence[str], delimiter: str, table: str) -> str:
    usual = {"users": ["user_id"], "items": ["item_id"]}.get(table, ["user_id", "item_id", "timestamp"])
    usual += [f"column{number}" for number in range(len(usual) + 1, len(first) + 1)]
    mark = " " if delimiter == "blanks" else delimiter
    return (
        f"{path}:1: found values ({_short(mark.join(first))}), expected the names of the columns; name them, such as "
        f"{HEADER_FLAGS[table]} {_short(','.join(usual[: len(first)]))}"
    )


def _check_text(path: Path, content: bytes) -> None:
    """Refuses what is no text."""
    strange = sum(byte < 9 or (13 < byte < 32 and byte != _SPARE) for byte in content[:4096])
    if 50 * strange > len(content[:4096]) or content.startswith((b"PK\3\4", b"%PDF", b"PAR1", b"\x1f\x8b")):
        raise InputError(
            f"{path}: found binary data, expected CSV, TSV, JSON lines, Parquet or a spreadsheet; the extension says "
            "which: Parquet files end in .parquet, spreadsheets in .xlsx, compressed text in .gz or .zip"
        )


def _short(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= 60 else clean[:57] + "..."


# Their rows


def _quotes(config: TableConfig, delimiter: str, content: bytes) -> bool:
    """Whether quotes around a cell are syntax, as ingest decides it, judged by the beginning of the file."""
    if config.quoting != "auto" or len(delimiter) > 1:
        return config.quoting == "quotes"
    lines = content.replace(b"\r", b"\n")
    return delimiter != "\t" or b'"' not in lines or is_regular(lines, ord("\t"))


def _part(path: Path, form: _Form, rows: int, size: int) -> _Part:
    if form.kind == "parquet":
        return _parquet(path, rows)
    if form.kind == "excel":
        names = [name for name in form.names if form.names.count(name) == 1]
        table = read_source(path, form.config, names).table
        return _Part(table.slice(0, rows), min(rows / max(table.num_rows, 1), 1.0))
    if form.kind == "jsonl":
        return _records(path, form, rows, size)
    return _delimited(path, form, rows, size)


def _head(path: Path, dialect: Dialect, size: int) -> tuple[bytes, float]:
    """At most `size` bytes of text as UTF-8, whole lines, and the share of the file they are."""
    with readable(path, "csv"):
        raw, share = beginning(path, size)
        content = b"".join(dialect.separated(decode_blocks([raw], dialect.encoding.name)))
    if share == 1:
        return content, 1.0
    cut = content.rfind(b"\n") + 1
    if not cut:
        raise InputError(
            f"{path}: found a first line longer than {size:,} bytes, expected a header and rows; "
            "is it a table, with a line break after each row?"
        )
    return content[:cut], share * cut / len(content)


def _delimited(path: Path, form: _Form, rows: int, size: int) -> _Part:
    config = form.config
    delimiter = config.delimiter or DEFAULT_DELIMITERS[form.kind]
    encoding = encoding_of(path, config)
    content, share = _head(path, Dialect(delimiter, True, encoding), size)
    if not content.strip():
        raise InputError(f"{path}: found an empty file, expected a header and rows")
    _check_text(path, content)
    dialect = Dialect(delimiter, _quotes(config, delimiter, content), encoding)
    names = list(config.header or header_of(path, dialect, config))
    try:
        table = pa.csv.read_csv(
            io.BytesIO(content),
            read_options=pa.csv.ReadOptions(
                use_threads=False,
                block_size=2 * size + BLOCK,
                column_names=names if config.header is not None else None,
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=dialect.separator.decode(),
                quote_char='"' if dialect.quotes else False,
                newlines_in_values=dialect.quotes,
                invalid_row_handler=lambda row: "skip",
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
    if form.declared:
        table = table.rename_columns(plain_names(table.column_names))
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


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _records(path: Path, form: _Form, rows: int, size: int) -> _Part:
    encoding = encoding_of(path, form.config)
    content, share = _head(path, Dialect(",", False, encoding), size)
    table = _record_table(path, form, encoding.name, content)
    kept = min(rows, table.num_rows)
    return _Part(_valid(table.slice(0, kept)), share * kept / max(table.num_rows, 1))


def _record_table(path: Path, form: _Form, encoding: str, content: bytes) -> pa.Table:
    found, _, _ = read_records(path, encoding, form.names, [content])
    return pa.table({name: found[name] for name in form.names if name in found})


def _parquet(path: Path, rows: int) -> _Part:
    with readable(path, "parquet"):
        table, unreadable, share = parquet.read_head(path, rows)
    if not table.num_columns:
        raise InputError(f"{path}: found no column that can be read, expected text, numbers, times or lists of them")
    return _Part(table, share, unreadable)


def _joined(parts: Iterable[_Part], files: Sequence[Path]) -> pa.Table:
    tables = [part.table for part in parts]
    common = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    unique = [name for name in dict.fromkeys(common) if all(table.column_names.count(name) == 1 for table in tables)]
    try:
        return pa.concat_tables([table.select(unique) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"{files[0].parent}: found files whose columns differ in type ({error}), expected the same in all"
        ) from None


def _readable(column: pa.ChunkedArray) -> pa.Array:
    """A plain array; one of a type that nothing can read stays as it is, and its profile says so."""
    try:
        return plain_array(column)
    except UnreadableTypeError:
        return pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)


def _without_marks(values: pa.Array, config: TableConfig) -> pa.Array:
    """Numbers in text that the settings read and a plain reader does not, as numbers."""
    if not pa.types.is_large_string(values.type):
        return values
    role = Role("x", "x", "numeric")
    marked = replace(role, decimal=config.decimal, thousands=config.thousands)
    known = len(values) - values.null_count
    if not known or _misfits(values, marked) > 0.01 * known:
        return values
    return values if not _misfits(values, role) else parse(values, marked).values


def _misfits(values: pa.Array, role: Role) -> int:
    return sum(int(mask.sum()) for mask in parse(values, role).bad.values())


def _unusable(names: list[str]) -> dict[str, str]:
    found = {name: f"{names.count(name)} columns have this name" for name in names if names.count(name) > 1}
    return found | {name: "it has no name" for name in names if not name.strip()}


def _total(parts: Sequence[_Part], chosen: Sequence[Path], files: Sequence[Path]) -> int:
    read = sum(part.table.num_rows / max(part.share, 1e-9) for part in parts)
    sizes = {file: file.stat().st_size for file in files}
    return int(read * sum(sizes.values()) / max(sum(sizes[file] for file in chosen), 1) + 0.5)
