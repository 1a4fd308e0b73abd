"""Counts the lines of a text file while it is read: on which line each row starts, and which rows span several."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["LineCounter", "LineMap", "RowTooLong", "Span", "is_regular"]

Int = NDArray[np.int64]

_QUOTE = ord('"')
_BREAK = ord("\n")
_PIECE = 1 << 17


@dataclass(frozen=True, slots=True)
class LineMap:
    """The lines of the rows of a file.

    Attributes:
        header: Lines of the header that count as rows of the file: 1 or 0.
        rows: Where the distance between row and line grows, sorted, shape (M,).
        shifts: By how many lines, shape (M,).
    """

    header: int
    rows: Int
    shifts: Int

    def lines(self, records: Int) -> Int:
        """The line of each record, from 1; records count from 0 behind the header."""
        rows = records + self.header
        total = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.shifts)])
        found: Int = rows + 1 + total[np.searchsorted(self.rows, rows, side="right")]
        return found


@dataclass(frozen=True, slots=True)
class Span:
    """A row of several lines.

    Attributes:
        row: Its index in the file, the header counted.
        lines: How many lines it has.
        full: How many of these would be a row by themselves: as many delimiters as the header.
    """

    row: int
    lines: int
    full: int

    @property
    def swallows(self) -> bool:
        """Whether most of its lines are rows: a quote that was text, not syntax, joined them."""
        return self.full >= 2 and 2 * self.full > self.lines


class RowTooLong(Exception):  # noqa: N818 - the caller knows the file and raises a DataError
    """A row does not fit into a block."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} does not fit into a block")
        self.line = line


class LineCounter:
    """Follows the blocks of a file that another reader parses.

    Attributes:
        rows: Rows so far, the header counted; blank lines are no rows.
        lines: Lines so far.
        blank: Blank lines so far.
        spans: The rows of more than one line.
    """

    def __init__(self, delimiter: bytes, columns: int, *, quotes: bool) -> None:
        self.rows = self.lines = self.blank = 0
        self.spans: list[Span] = []
        self._delimiter, self._columns, self._quotes = delimiter, columns, quotes
        self._blank_rows: list[Int] = []
        self._tail = b""
        self._open: Span | None = None
        self._open_bytes = 0

    def watch(self, blocks: Iterable[bytes], limit: int) -> Iterator[bytes]:
        """Hands the blocks on and counts their lines.

        Raises:
            RowTooLong: A row is longer than `limit` bytes.
        """
        for block in blocks:
            if len(block) > limit:
                self._check_lengths(block, limit)
            self._feed(block)
            started = self._open.lines if self._open else 0
            if len(self._tail) + self._open_bytes > limit:
                raise RowTooLong(self.lines - started + 1)
            yield block
        self._close()

    def line_map(self, header: int) -> LineMap:
        """The lines of the rows that were counted."""
        rows = np.concatenate([*self._blank_rows, np.array([span.row + 1 for span in self.spans], dtype=np.int64)])
        blank = len(rows) - len(self.spans)
        shifts = np.concatenate(
            [np.ones(blank, dtype=np.int64), np.array([span.lines - 1 for span in self.spans], dtype=np.int64)]
        )
        order = np.argsort(rows, kind="stable")
        return LineMap(header, rows[order].astype(np.int64), shifts[order])

    def _check_lengths(self, block: bytes, limit: int) -> None:
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == _BREAK)
        long = np.flatnonzero(np.diff(ends, prepend=-1) > limit)
        if len(long):
            raise RowTooLong(self.lines + 1 + int(long[0]))

    def _feed(self, block: bytes) -> None:
        text = self._tail + block if self._tail else block
        if b"\r" in text:
            held = text.endswith(b"\r")
            text = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            cut = text.rfind(b"\n") + 1
            self._tail = text[cut:] + (b"\r" if held else b"")
        else:
            cut = text.rfind(b"\n") + 1
            self._tail = text[cut:]
        self._count(text[:cut])

    def _close(self) -> None:
        if self._tail:
            self._count(self._tail.removesuffix(b"\r") + b"\n")
        if self._open is not None:
            # The file ends within a quoted cell.
            self._end_span(self._open)

    def _count(self, text: bytes) -> None:
        quoted = self._quotes and b'"' in text
        if quoted and len(text) > 2 * _PIECE:
            for piece in _pieces(text):
                self._count(piece)
            return
        if self._open is not None or (quoted and not is_regular(text, self._delimiter[0])):
            for line in text.split(b"\n")[:-1]:
                self._add_line(line)
            return
        breaks = text.count(b"\n")
        blank = 0
        if text.startswith(b"\n") or b"\n\n" in text:
            ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == _BREAK)
            empty = np.flatnonzero(np.diff(ends, prepend=-1) == 1)
            blank = len(empty)
            self._blank_rows.append(self.rows + empty - np.arange(blank))
        self.lines += breaks
        self.blank += blank
        self.rows += breaks - blank

    def _add_line(self, line: bytes) -> None:
        self.lines += 1
        full = line.count(self._delimiter) == self._columns - 1
        if self._open is not None:
            span = replace(self._open, lines=self._open.lines + 1, full=self._open.full + full)
            self._open = span
            self._open_bytes += len(line) + 1
            if not _ends_quoted(line, self._delimiter, quoted=True):
                self._end_span(span)
        elif not line:
            self.blank += 1
            self._blank_rows.append(np.array([self.rows], dtype=np.int64))
        elif _QUOTE in line and _ends_quoted(line, self._delimiter, quoted=False):
            self._open, self._open_bytes = Span(self.rows, 1, int(full)), len(line) + 1
        else:
            self.rows += 1

    def _end_span(self, span: Span) -> None:
        self._open, self._open_bytes = None, 0
        self.rows += 1
        if span.lines > 1:
            self.spans.append(span)


def _pieces(text: bytes) -> Iterator[bytes]:
    """Whole lines that fit into a processor's cache."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + _PIECE) + 1 or len(text)
        yield text[start:end]
        start = end


def is_regular(text: bytes, delimiter: int) -> bool:
    """Whether every quote of these lines opens or closes a cell, or is one of a pair in a cell, and none spans lines.

    Decides for a whole block at once; rows for which this does not hold are followed cell by cell.
    """
    data = np.frombuffer(b"\n" + text, dtype=np.uint8)
    marks = np.flatnonzero((data == _QUOTE) | (data == _BREAK)).astype(np.int32)
    quoted = data[marks] == _QUOTE
    # Counted in 8 bits: only whether the number is odd matters.
    if (np.cumsum(quoted, dtype=np.uint8)[~quoted] & 1).any():
        return False
    quotes = marks[quoted]
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = data[opening - 1]
    starts = (before == delimiter) | (before == _BREAK)
    return bool(starts.all() or (starts[0] and (starts[1:] | (opening[1:] - closing[:-1] == 1)).all()))


def _ends_quoted(line: bytes, delimiter: bytes, *, quoted: bool) -> bool:
    """Whether the end of a line is inside a quoted cell; quotes in the middle of other cells are text."""
    at = 0
    while True:
        if quoted:
            end = line.find(b'"', at)
            if end < 0:
                return True
            if line[end + 1 : end + 2] == b'"':
                at = end + 2
                continue
            at = end + 1
        elif line[at : at + 1] == b'"':
            quoted, at = True, at + 1
            continue
        at, quoted = line.find(delimiter, at) + 1, False
        if not at:
            return False
