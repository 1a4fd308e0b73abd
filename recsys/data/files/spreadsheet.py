"""Reads the first sheet of a spreadsheet (.xlsx, .xls, .ods); needs the extra `excel`."""

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.config import TableConfig
from recsys.data.files.cells import array_of
from recsys.data.files.lines import LineMap
from recsys.data.files.stream import open_bytes
from recsys.errors import DataError

__all__ = ["Sheet", "read_sheet"]

_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Sheet:
    """The first sheet of a spreadsheet.

    Attributes:
        header: Names of the columns.
        rows: The cells of the rows that are not blank.
        at: The number of each of these rows in the sheet, from 1, shape (N,).
        others: Names of further sheets, which are not read.
    """

    header: list[str]
    rows: list[list[object]]
    at: NDArray[np.int64]
    others: tuple[str, ...]

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Columns by name."""
        at = {name: self.header.index(name) for name in names}
        return pa.table({name: array_of([row[at[name]] for row in self.rows]) for name in names})

    def line_map(self) -> LineMap:
        """The row of the sheet of every record."""
        gaps = np.diff(self.at, prepend=0) - 1
        where = np.flatnonzero(gaps)
        return LineMap(0, where, gaps[where])


def read_sheet(path: Path, config: TableConfig) -> Sheet:
    """Reads the whole first sheet.

    Raises:
        DataError: The extra is not installed, or the sheet is empty or has other columns than the settings name.
    """
    try:
        calamine = importlib.import_module("python_calamine")
    except ImportError as error:
        raise DataError(
            f"{path}: found a spreadsheet, which needs pip install 'recsys[excel]'; or save it as CSV"
        ) from error
    try:
        with open_bytes(path) as stream:
            book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(stream.read()))
        rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except calamine.CalamineError as error:
        raise DataError(f"{path}: found a file that cannot be read ({error}), expected a spreadsheet") from error
    numbered = [(number, [_cell(cell) for cell in row]) for number, row in enumerate(rows, start=1)]
    full = [(number, row) for number, row in numbered if any(cell is not None for cell in row)]
    if not full:
        raise DataError(f"{path}: found an empty file, expected a header and rows")
    header, body = _header(path, full, config)
    return Sheet(
        header=header,
        rows=[row for _, row in body],
        at=np.array([number for number, _ in body], dtype=np.int64),
        others=tuple(book.sheet_names[1:]),
    )


def _header(
    path: Path, rows: list[tuple[int, list[object]]], config: TableConfig
) -> tuple[list[str], list[tuple[int, list[object]]]]:
    if config.header is None:
        return ["" if cell is None else str(cell) for cell in rows[0][1]], rows[1:]
    if len(rows[0][1]) != len(config.header):
        raise DataError(
            f"{path}:1: found {len(rows[0][1])} columns, expected the {len(config.header)} that header names: "
            f"{', '.join(config.header)}"
        )
    return list(config.header), rows


def _cell(cell: object) -> object:
    """Nothing for an empty cell; whole numbers as such: a spreadsheet stores every number as a float."""
    if cell == "":
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        return int(cell)
    return cell
