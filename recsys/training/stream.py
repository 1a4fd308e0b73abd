"""Batches of groups that are larger than memory, from Parquet files through a shuffle buffer."""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.errors import DataError
from recsys.training.batches import Batch, Part, Samples
from recsys.training.group_files import LABELS, MASK, OFFSET, WEIGHT, GroupColumns, GroupFile, Rows

__all__ = ["Stream"]


class Stream:
    """Groups of labelled candidates in files, as `Samples` are in memory.

    An epoch reads the groups of rows of all files in an order that is drawn, into a buffer from which batches are drawn
    at random; every group comes once. The next group of rows is read in a thread that ends with it. So memory holds the
    buffer and two groups of rows, whatever the files hold, and which groups meet in a batch is as random as the buffer
    is large beside a group of rows: write groups of rows that are a sixteenth of it or less.

    Files that fit into the buffer are read once and kept: batches are then, bit for bit, those of `Samples`.

    Args:
        files: in the order of `in_order`; where they differ in C, the narrower are padded.
        columns: that are read; see `recsys.training.group_files`.
        batch_size: groups a batch.
        buffer: bytes.
        pool: batches that are drawn together and sorted by the length of the history, so that little is padded.

    Raises:
        DataError: a file cannot be read, does not fit the columns, or has groups of rows larger than the buffer.
    """

    def __init__(
        self,
        files: Sequence[Path],
        columns: GroupColumns,
        batch_size: int,
        *,
        buffer: int = 1 << 29,
        pool: int = 1,
    ) -> None:
        self.columns = columns
        self.batch_size = batch_size
        self.pool = pool
        self._files = [GroupFile(path, columns) for path in files]
        self._candidates = max((file.candidates for file in self._files), default=1)
        self._groups = [(file, n) for file in self._files for n in range(len(file.rows)) if file.rows[n]]
        self._sizes = np.array([file.rows[n] for file, n in self._groups], dtype=np.int64)
        if not len(self._sizes):
            raise DataError(f"{', '.join(map(str, files)) or 'no files'}: found no rows, expected groups to train on")
        self._rows = buffer // columns.row_bytes(self._candidates)
        self._check_sizes(buffer)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-self.rows // self.batch_size)

    @property
    def rows(self) -> int:
        """Groups of all files."""
        return int(self._sizes.sum())

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of an epoch, shuffled; one may be smaller.

        Raises:
            DataError: a file cannot be read any more, or holds values that are not what they should be.
        """
        if self.rows <= self._rows:
            yield from self._whole.epoch(rng)
            return
        drawn = self.pool * self.batch_size
        buffer = _Buffer(max(self._rows, int(self._sizes.max()) + drawn), self._layout)
        for rows in self._read(rng.permutation(len(self._groups))):
            while buffer.room < len(rows[LABELS]):
                yield from self._part(buffer.draw(drawn, rng)).epoch(rng)
            buffer.add(rows)
            del rows
        while buffer.filled:
            yield from self._part(buffer.draw(drawn, rng)).epoch(rng)

    def in_order(self) -> Iterator[Batch]:
        """All groups once, in the order of the files. Raises as `epoch` does."""
        if self.rows <= self._rows:
            yield from self._whole.in_order()
            return
        left: Rows = {}
        for rows in self._read(np.arange(len(self._groups))):
            both = {name: np.concatenate([left[name], values]) for name, values in rows.items()} if left else rows
            full = len(both[LABELS]) // self.batch_size * self.batch_size
            yield from self._part({name: values[:full] for name, values in both.items()}).in_order()
            left = {name: values[full:].copy() for name, values in both.items()}
        yield from self._part(left).in_order()

    @cached_property
    def _whole(self) -> Samples:
        """All groups, where they fit into the buffer."""
        buffer = _Buffer(self.rows, self._layout)
        for rows in self._read(np.arange(len(self._groups))):
            buffer.add(rows)
        return Samples(**self._arguments(buffer.columns))

    @property
    def _layout(self) -> dict[str, tuple[Any, tuple[int, ...]]]:
        return self.columns.layout(self._candidates)

    def _part(self, rows: Rows) -> Part:
        return Part(**self._arguments(rows))

    def _arguments(self, rows: Rows) -> dict[str, Any]:
        inputs = {field.name: rows[field.name] for field in self.columns.spec.fields}
        about = {"labels": rows[LABELS], "mask": rows[MASK], "weight": rows.get(WEIGHT), "offset": rows.get(OFFSET)}
        return {"inputs": inputs, **about, "batch_size": self.batch_size, "pool": self.pool}

    def _read(self, order: NDArray[np.int64]) -> Iterator[Rows]:
        """Groups of rows, each one read while what came before is worked on."""
        ahead: _Ahead | None = None
        try:
            for place in order:
                file, number = self._groups[place]
                before, ahead = ahead, _Ahead(partial(file.read, number, self._candidates))
                if before is not None:
                    yield before.result()
                    before = None  # else a third group of rows would be held while the next but one is read
            if ahead is not None:
                yield ahead.result()
        finally:
            if ahead is not None:
                ahead.join()

    def _check_sizes(self, buffer: int) -> None:
        """Raises `DataError` where a group of rows would not fit into the buffer."""
        largest = int(self._sizes.argmax())
        if self._sizes[largest] > self._rows:
            file, number = self._groups[largest]
            size = int(self._sizes[largest]) * self.columns.row_bytes(self._candidates)
            raise DataError(
                f"{file.path}: row group {number} has {int(self._sizes[largest]):,} rows, {size / 2**20:,.1f} MB as "
                f"model inputs, expected at most the buffer's {buffer / 2**20:,.1f} MB; write the file with a smaller "
                "row_group_size, or give a larger buffer"
            )


class _Buffer:
    """Rows, of which some are drawn at random and taken out.

    Args:
        size: rows it has room for.
        layout: type and shape of every column.
    """

    def __init__(self, size: int, layout: dict[str, tuple[Any, tuple[int, ...]]]) -> None:
        self.columns = {name: np.empty((size, *shape), dtype=kind) for name, (kind, shape) in layout.items()}
        self.filled = 0
        self._slots = np.arange(size)
        """Those that are filled come first."""

    @property
    def room(self) -> int:
        """Rows that may be added."""
        return len(self._slots) - self.filled

    def add(self, rows: Rows) -> None:
        """Puts rows in, of which there are at most as many as there is room for."""
        count = len(rows[LABELS])
        free = self._slots[self.filled : self.filled + count]
        for name, values in rows.items():
            self.columns[name][free] = values
        self.filled += count

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Takes so many rows out, or all if there are fewer."""
        count = min(count, self.filled)
        chosen = rng.choice(self.filled, count, replace=False, shuffle=False)
        self.filled -= count
        # The last filled slots that stay change places with the chosen ones before them.
        last = np.ones(count, dtype=bool)
        last[chosen[chosen >= self.filled] - self.filled] = False
        stay, go = np.flatnonzero(last) + self.filled, chosen[chosen < self.filled]
        self._slots[stay], self._slots[go] = self._slots[go], self._slots[stay]
        drawn = self._slots[self.filled : self.filled + count]
        return {name: values[drawn] for name, values in self.columns.items()}


class _Ahead(threading.Thread):
    """Work begun in a thread of its own, which ends with it: whoever loses interest leaves nothing behind."""

    def __init__(self, work: Callable[[], Rows]) -> None:
        super().__init__(name="recsys-read-ahead")
        self._work = work
        self._done: Rows = {}
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """See `Thread`."""
        try:
            self._done = self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> Rows:
        """What came of it; raises what it raised."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._done
