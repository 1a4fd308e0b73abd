"""Reads JSON lines: one object a line, fields of nested objects by dotted name.

The standard parser is used although others are faster: it keeps whole numbers of any size, and a line that it refuses
is that line's matter alone.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.data.files.cells import array_of, join_arrays
from recsys.data.files.lines import LineMap
from recsys.data.files.source import BadRow
from recsys.data.files.stream import BLOCK, text_blocks, whole_lines
from recsys.errors import DataError

__all__ = ["column_names", "read_records"]

_SAMPLE = 10_000
_CHUNK = 50_000


def column_names(path: Path, encoding: str) -> list[str]:
    """The fields of the first records in order of appearance, those of nested objects by dotted name.

    Raises:
        DataError: The file holds one JSON document rather than a record a line, or nothing.
    """
    names: dict[str, None] = {}
    rows = 0
    for _, line in islice(_lines(path, text_blocks(path, encoding)), _SAMPLE):
        rows += 1
        record = _parse(line)
        if isinstance(record, dict):
            names.update(dict.fromkeys(_fields(record)))
        elif rows == 1:
            _check_document(path, line)
    if not rows:
        raise DataError(f"{path}: found an empty file, expected a JSON object a line")
    return list(names)


def read_records(
    path: Path, encoding: str, columns: Sequence[str], blocks: Iterable[bytes] | None = None
) -> tuple[dict[str, pa.Array], list[BadRow], LineMap]:
    """The columns that occur in any record, the lines that are no records, and the lines of all.

    Args:
        path: The file.
        encoding: Of the file.
        columns: Names of fields, of nested ones with dots.
        blocks: What to read of the file, decoded; `None`: all of it.

    Raises:
        DataError: The file holds one JSON document rather than a record a line.
    """
    reader = _Records(path, columns)
    lines = _lines(path, text_blocks(path, encoding) if blocks is None else blocks)
    while chunk := list(islice(lines, _CHUNK)):
        reader.add(chunk)
    blank = np.array(reader.blank, dtype=np.int64)
    return reader.arrays(), reader.bad, LineMap(0, blank, np.ones(len(blank), dtype=np.int64))


class _Records:
    """Collects the columns of records, chunk by chunk."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.bad: list[BadRow] = []
        self.blank: list[int] = []
        self._path = path
        self._ways = {name: tuple(name.split(".")) for name in columns}
        self._parts: dict[str, list[pa.Array]] = {name: [] for name in columns}
        self._seen: set[str] = set()
        self._count = 0

    def add(self, chunk: Sequence[tuple[int, bytes]]) -> None:
        """Numbered lines, none of them blank."""
        rows = [record for number, line in chunk if isinstance(record := self._record(number, line), dict)]
        for name, way in self._ways.items():
            cells = [_field(row, name, way) for row in rows]
            if name not in self._seen and any(cell is not _ABSENT for cell in cells):
                self._seen.add(name)
            self._parts[name].append(array_of([None if cell is _ABSENT else cell for cell in cells]))

    def arrays(self) -> dict[str, pa.Array]:
        """The columns that any record has."""
        return {name: join_arrays(parts) for name, parts in self._parts.items() if name in self._seen}

    def _record(self, number: int, line: bytes) -> object:
        # `number` counts blank lines, too.
        self.blank.extend([self._count] * (number - 1 - self._count - len(self.blank)))
        record = _parse(line)
        if not isinstance(record, dict):
            if not self._count:
                _check_document(self._path, line)
            reason = f"expected one JSON object a line{f' ({record})' if isinstance(record, ValueError) else ''}"
            self.bad.append(BadRow(self._count, None, line.decode("utf-8", "backslashreplace"), reason))
        self._count += 1
        return record


def _lines(path: Path, blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, numbered from 1 over all."""
    number = 0
    for text in whole_lines(blocks):
        if len(text) > BLOCK and b"\n" not in text:
            raise DataError(f"{path}:{number + 1}: found a row of more than {BLOCK >> 20} MB, expected shorter ones")
        for line in text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n"):
            number += 1
            if line.strip():
                yield number, line


def _parse(line: bytes) -> object:
    """The value of a line; the error where it is no JSON."""
    try:
        value: object = _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:
        return ValueError(str(error))
    return value


def _no_number(name: str) -> None:
    """`NaN` and `Infinity`, which Python writes and JSON does not know: no value."""


_DECODER = json.JSONDecoder(parse_constant=_no_number)
"""Made once: with an argument of its own, `json.loads` makes one a line."""


def _check_document(path: Path, line: bytes) -> None:
    """Refuses a file whose first line begins one document over many lines."""
    start = line.strip()[:1]
    if start == b"[" or line.strip() == b"{":
        what, way = ("array", ".[]") if start == b"[" else ("object", ".")
        raise DataError(
            f"{path}: found one JSON {what}, expected a record a line; "
            f"convert it, for example: jq -c '{way}' {path.name} > {path.stem}.jsonl"
        )


def _fields(record: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name


_ABSENT = object()


def _field(record: dict[str, Any], name: str, way: Sequence[str]) -> object:
    """A field by its name, or by its way through nested objects."""
    if name in record or len(way) == 1:
        return record.get(name, _ABSENT)
    value: object = record
    for step in way:
        if not isinstance(value, dict) or step not in value:
            return _ABSENT
        value = value[step]
    return value
