"""A file that was read: its columns, the rows that could not be read, and the line of every row."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.files.lines import LineMap

__all__ = ["BadRow", "Source"]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not even be read into columns.

    Attributes:
        record: Its index among the rows of the file, from 0.
        column: The column it broke in; `None` where the row as a whole is malformed.
        value: What was found.
        reason: What was expected.
        lines: How many lines of the file it covers: many, after a quote that nothing closes.
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
        line_map: Where rows stand in a text file; `None` where rows have no lines.
        sha256: Of the bytes of the file.
        encoding: Of a text file.
        notes: What was recognised about the file and is worth saying.
    """

    path: Path
    table: pa.Table
    records: NDArray[np.int64]
    bad: tuple[BadRow, ...]
    line_map: LineMap | None
    sha256: str
    encoding: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Rows in the file, unreadable ones included; a bad row counts as many as the lines it covers."""
        return len(self.records) + sum(bad.lines for bad in self.bad)

    def lines(self, records: Iterable[int]) -> dict[int, int]:
        """The line of each record, from 1: the header is line 1 of a CSV file; without lines, the row number."""
        wanted = sorted(set(records))
        if self.line_map is None:
            return {record: record + 1 for record in wanted}
        return dict(zip(wanted, self.line_map.lines(np.array(wanted, dtype=np.int64)).tolist(), strict=True))
