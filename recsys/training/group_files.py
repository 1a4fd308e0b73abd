"""Parquet files of encoded groups, for data larger than memory.

A row is a group: a request and its C labelled candidates. Columns have the names of model inputs:

| column | Arrow type |
|---|---|
| `user.*`, `context.*` | scalar; of W values a list of at most W |
| `item.*`, `route.*`, labels, mask, weight, offset | fixed-size list of C; none if C is 1; of W values a list in it |
| `history.*` | list, oldest first; of W values a list in the list |

Embedding rows are integers of any width, numbers are floats, integers or booleans, lists within candidates are padded
with 0 where they are short. Lists of the history may have any length: they need no padding and no `history.mask`, and
the newest are kept of those that are too long. What padded histories and candidates of fixed size need is a mask.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.errors import DataError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import InputSpec
from recsys.training.batches import Samples

__all__ = ["LABELS", "MASK", "OFFSET", "WEIGHT", "GroupColumns", "GroupFile", "Rows", "groups_table", "write_groups"]

Rows = Mapping[str, NDArray[Any]]
"""Some groups as `Samples` has them: model inputs by name, `LABELS`, `MASK`, and `WEIGHT`, `OFFSET` where given."""
LABELS, MASK, WEIGHT, OFFSET = "labels", "mask", "weight", "offset"


@dataclass(frozen=True, slots=True)
class _Column:
    """What a column must be.

    Attributes:
        name: in the file.
        dtype: of the array that is made of it.
        rows: embedding rows are below this; 0: a number.
        axes: lengths of the axes after the first; `None` stands for C.
        newest: of lists that are too long, the end is kept.
    """

    name: str
    dtype: Any
    rows: int
    axes: tuple[int | None, ...]
    newest: bool = False

    def shape(self, candidates: int) -> tuple[int, ...]:
        return tuple(candidates if axis is None else axis for axis in self.axes)


@dataclass(frozen=True, slots=True)
class GroupColumns:
    """Which columns are read.

    Attributes:
        spec: the model inputs.
        labels: a column for each task.
        mask: column of real candidates; `None`: all are.
        weight: column of how much each candidate counts; `None`: all count the same.
        offset: column of what is added to scores before the loss sees them; `None`: nothing is.
    """

    spec: InputSpec
    labels: tuple[str, ...] = ("label",)
    mask: str | None = None
    weight: str | None = None
    offset: str | None = None
    _all: tuple[_Column, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        about = [*self.labels, *self.others.values()]
        found = [*_inputs(self.spec), *(_Column(name, np.float32, 0, (None,)) for name in about)]
        if self.mask is not None:
            found.append(_Column(self.mask, np.bool_, 0, (None,)))
        object.__setattr__(self, "_all", tuple(found))

    @property
    def others(self) -> dict[str, str]:
        """Columns beside labels and mask, by what `Rows` call them."""
        named = {WEIGHT: self.weight, OFFSET: self.offset}
        return {key: name for key, name in named.items() if name is not None}

    def __iter__(self) -> Iterator[_Column]:
        """Every column."""
        return iter(self._all)

    def layout(self, candidates: int) -> dict[str, tuple[Any, tuple[int, ...]]]:
        """Type, and shape after the first axis, of every array of `Rows` with so many candidates."""
        found: dict[str, tuple[Any, tuple[int, ...]]] = {
            column.name: (column.dtype, column.shape(candidates)) for column in _inputs(self.spec)
        }
        tasks = (len(self.labels),) if len(self.labels) > 1 else ()
        found |= {LABELS: (np.float32, (candidates, *tasks)), MASK: (np.bool_, (candidates,))}
        return found | {key: (np.float32, (candidates,)) for key in self.others}

    def row_bytes(self, candidates: int) -> int:
        """Memory of a group of so many candidates."""
        return sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in self.layout(candidates).values())


def _inputs(spec: InputSpec) -> Iterator[_Column]:
    for one in spec.fields:
        width = (one.width,) if one.width > 1 else ()
        axes: tuple[int | None, ...] = ()
        if one.side == "history":
            axes = (spec.history_length,)
        elif one.side in ("item", "route"):
            axes = (None,)
        kind = np.int64 if one.is_index else np.float32
        yield _Column(one.name, kind, one.rows, (*axes, *width), newest=one.side == "history")


class GroupFile:
    """A file whose columns are known to be right by their types and statistics; values are checked as they are read.

    Args:
        path: of the file.
        columns: that it must have.

    Attributes:
        rows: `(groups of rows,)` rows of each.
        candidates: C.

    Raises:
        DataError: it cannot be read, lacks a column, or one has a wrong type or wrong values.
    """

    def __init__(self, path: Path, columns: GroupColumns) -> None:
        self.path = path
        self.columns = columns
        try:
            with pq.ParquetFile(path) as file:
                self._metadata, self._schema = file.metadata, file.schema_arrow
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read ({error}), expected a whole Parquet file") from error
        groups = range(self._metadata.num_row_groups)
        self.rows = np.array([self._metadata.row_group(group).num_rows for group in groups], dtype=np.int64)
        # Lists without padding say themselves where a history ends.
        self._ends = _unpadded_histories(columns.spec, self._schema)
        self._read = [column for column in columns if not (self._ends and column.name == HISTORY_MASK.name)]
        self.candidates = self._width()
        for column in self._read:
            self._check_statistics(column)

    def read(self, group: int, candidates: int) -> dict[str, NDArray[Any]]:
        """A group of rows, with so many candidates, padded where the file has fewer.

        Raises:
            DataError: it cannot be read, or holds values that are missing, not finite or beyond their table.
        """
        where = f"{self.path}: row group {group}"
        names = [column.name for column in self._read]
        try:
            # One thread: the other cores are training. Whole column chunks are not held beside what is made of them.
            with pq.ParquetFile(
                self.path, metadata=self._metadata, pre_buffer=False, page_checksum_verification=True
            ) as file:
                table = file.read_row_group(group, columns=names, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{where} cannot be read ({error}), expected Parquet as it was written") from error
        found = {column.name: self._array(table, column, candidates, where) for column in self._read}
        if self._ends:
            lengths = _common_lengths(table.select(self._ends), where)
            real = np.arange(self.columns.spec.history_length) < lengths[:, None]
            found[HISTORY_MASK.name] = real.astype(np.float32)
        return self._named(found, table.num_rows, candidates)

    def _named(self, found: dict[str, NDArray[Any]], rows: int, candidates: int) -> dict[str, NDArray[Any]]:
        """The arrays under the names of `Rows`."""
        columns = self.columns
        named = {one.name: found[one.name] for one in columns.spec.fields}
        labels = [found[name] for name in columns.labels]
        named[LABELS] = labels[0] if len(labels) == 1 else np.stack(labels, axis=-1)
        real = np.broadcast_to(np.arange(candidates) < self.candidates, (rows, candidates))
        named[MASK] = real if columns.mask is None else found[columns.mask]
        return named | {key: found[name] for key, name in columns.others.items()}

    def _array(self, table: pa.Table, column: _Column, candidates: int, where: str) -> NDArray[Any]:
        shape = column.shape(candidates)
        values = _one_chunk(table[column.name])
        at = f"{where}, column {column.name}"
        if self._flat(column):
            # One candidate a group, whose column is no list.
            alone = _dense(values, shape[1:], column, at)
            return _padded(alone[:, None], shape)
        return _dense(values, shape, column, at)

    def _flat(self, column: _Column) -> bool:
        return None in column.axes and len(_axes(self._schema.field(column.name).type)[0]) < len(column.axes)

    def _width(self) -> int:
        """C, which all columns of candidates agree on."""
        first: tuple[str, int] | None = None
        for column in self._read:
            width = self._check_type(column)
            if width is None:
                continue
            if first is None:
                first = column.name, width
            elif width != first[1]:
                raise DataError(
                    f"{self.path}: column {column.name} has {width} candidates a group, expected {first[1]} as "
                    f"{first[0]} has"
                )
        return 1 if first is None else first[1]

    def _check_type(self, column: _Column) -> int | None:
        """C by this column; `None` if it is not of candidates."""
        at = self._schema.get_field_index(column.name)
        if at < 0:
            known = ", ".join(self._schema.names[:20])
            raise DataError(f"{self.path}: found no column {column.name}, only {known}; expected all of the model's")
        kind = self._schema.field(at).type
        sizes, leaf = _axes(kind)
        expected = column.axes
        width = None
        if None in expected:
            sizes = sizes if len(sizes) == len(expected) else [1, *sizes]
            width, expected, sizes = sizes[0] if sizes else None, expected[1:], sizes[1:]
            fits = width is not None
        else:
            fits = True
        fits = fits and len(sizes) == len(expected) and _is_kind(leaf, index=column.rows > 0)
        if not fits or any(size and most and size > most for size, most in zip(sizes, expected, strict=True)):
            raise DataError(f"{self.path}: column {column.name} is {kind}, expected {_described(column)}")
        return width

    def _check_statistics(self, column: _Column) -> None:
        """What the writer noted down of every group of rows."""
        schema, name = self._metadata.schema, column.name
        paths = [schema.column(place).path for place in range(self._metadata.num_columns)]
        leaf = next(n for n, path in enumerate(paths) if path == name or path.startswith(f"{name}.list"))
        for group in range(self._metadata.num_row_groups):
            noted = self._metadata.row_group(group).column(leaf).statistics
            if noted is None:
                continue
            where = f"{self.path}: row group {group}, column {name}"
            if paths[leaf] == name and noted.has_null_count and noted.null_count:
                raise _missing(where, noted.null_count)
            if column.rows and noted.has_min_max:
                _check_index(noted.min, noted.max, column, where)


def _axes(kind: pa.DataType) -> tuple[list[int | None], pa.DataType]:
    """Lengths of nested lists, `None` where they vary, and the type of what is in them."""
    sizes: list[int | None] = []
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        sizes.append(kind.list_size if pa.types.is_fixed_size_list(kind) else None)
        kind = kind.value_type
    return sizes, kind


def _is_kind(leaf: pa.DataType, *, index: bool) -> bool:
    return pa.types.is_integer(leaf) or (not index and (pa.types.is_floating(leaf) or pa.types.is_boolean(leaf)))


def _described(column: _Column) -> str:
    """The type that a column should have had."""
    what = f"embedding rows below {column.rows:,} as integers" if column.rows else "numbers"
    axes = [axis for axis in column.axes if axis is not None]
    lists = "".join(f"lists of at most {axis} of " for axis in axes)
    if None in column.axes:
        return f"{lists}{what}, in fixed-size lists of the candidates; no list where there is one"
    return lists + what


def _unpadded_histories(spec: InputSpec, schema: pa.Schema) -> list[str]:
    """Columns of histories whose lists tell where they end, unless there is a mask that does."""
    if HISTORY_MASK not in spec.fields or HISTORY_MASK.name in schema.names:
        return []
    there = [one.name for one in spec.side("history") if one.name in schema.names]
    return [name for name in there if _axes(schema.field(name).type)[0][:1] == [None]]


def _common_lengths(histories: pa.Table, where: str) -> NDArray[np.integer]:
    """`(n,)` lengths of the lists, which all columns agree on."""
    first, *others = (_lengths(_one_chunk(column)) for column in histories.columns)
    for name, lengths in zip(histories.column_names[1:], others, strict=True):
        if (lengths != first).any():
            at = int(np.argmax(lengths != first))
            raise DataError(
                f"{where}, column {name}: found a history of {lengths[at]} in row {at}, expected {first[at]} as "
                f"{histories.column_names[0]} has"
            )
    return first


def _lengths(values: pa.Array) -> NDArray[np.integer]:
    lengths: NDArray[np.integer] = values.value_lengths().to_numpy(zero_copy_only=False)
    return lengths


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _dense(values: pa.Array, shape: tuple[int, ...], column: _Column, where: str) -> NDArray[Any]:
    """`(n, *shape)`, without a copy where there is nothing to convert or to pad."""
    if values.null_count:
        raise _missing(where, values.null_count)
    if not shape:
        return _numbers(values, column, where)
    inner: NDArray[Any] = _dense(values.flatten(), shape[1:], column, where)
    if pa.types.is_fixed_size_list(values.type):
        return _padded(inner.reshape(len(values), values.type.list_size, *shape[1:]), (shape[0], *shape[1:]))
    lengths = _lengths(values)
    if lengths.max(initial=0) > shape[0] and not column.newest:
        raise DataError(f"{where}: found a list of {lengths.max()}, expected at most {shape[0]}")
    return _from_lists(inner, lengths, shape)


def _from_lists(inner: NDArray[Any], lengths: NDArray[np.integer], shape: tuple[int, ...]) -> NDArray[Any]:
    """The ends of lists that lie one after another, padded on the right."""
    kept = np.minimum(lengths, shape[0])
    if (kept < lengths).any():
        from_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(inner))
        inner = inner[from_end <= np.repeat(kept, lengths)]
    out = np.zeros((len(lengths), *shape), dtype=inner.dtype)
    out[np.arange(shape[0]) < kept[:, None]] = inner
    return out


def _padded(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if values.shape[1:] == shape:
        return values
    return np.pad(values, [(0, 0), *((0, most - size) for most, size in zip(shape, values.shape[1:], strict=True))])


def _numbers(values: pa.Array, column: _Column, where: str) -> NDArray[Any]:
    plain = values.to_numpy(zero_copy_only=not pa.types.is_boolean(values.type))
    if column.rows:
        if len(plain):
            _check_index(plain.min(), plain.max(), column, where)
        index: NDArray[np.int64] = plain.astype(np.int64, copy=False)
        return index
    with np.errstate(over="ignore"):
        numbers: NDArray[Any] = plain.astype(column.dtype, copy=False)
    if numbers.dtype == np.float32 and not np.isfinite(numbers).all():
        bad = plain[~np.isfinite(numbers)][0]
        raise DataError(f"{where}: found {bad}, expected finite numbers; fill in what is missing, or leave the row out")
    return numbers


def _check_index(least: int, most: int, column: _Column, where: str) -> None:
    if least < 0 or most >= column.rows:
        bad = least if least < 0 else most
        raise DataError(f"{where}: found embedding row {bad}, expected 0 to {column.rows - 1:,}; encode the file again")


def _missing(where: str, count: int) -> DataError:
    return DataError(f"{where}: found {count:,} missing values, expected none; an unknown category is row 1")


def groups_table(samples: Samples, columns: GroupColumns) -> pa.Table:
    """Groups as they are written to a file: histories without their padding.

    Args:
        samples: the groups.
        columns: names of the columns; those that the samples have, a mask and weights above all, are among them.
    """
    inputs = samples.inputs
    lengths = inputs[HISTORY_MASK.name].sum(axis=1).astype(np.int64) if HISTORY_MASK.name in inputs else None
    table = {}
    for one in columns.spec.fields:
        if one == HISTORY_MASK:
            continue
        values = inputs[one.name].astype(np.int32) if one.is_index else inputs[one.name]
        table[one.name] = _fixed(values) if lengths is None or one.side != "history" else _lists(values, lengths)
    labels = samples.labels if samples.labels.ndim == 3 else samples.labels[..., None]
    table |= {name: _fixed(labels[..., task]) for task, name in enumerate(columns.labels)}
    if columns.mask is not None:
        table[columns.mask] = _fixed(samples.mask)
    given = {WEIGHT: (samples.weight, 1), OFFSET: (samples.offset, 0)}
    for key, name in columns.others.items():
        own, absent = given[key]
        same = np.full(samples.mask.shape, absent, dtype=np.float32)
        table[name] = _fixed(same if own is None else own)
    return pa.table(table)


def _fixed(values: NDArray[Any]) -> pa.Array:
    """`(n, …)` as fixed-size lists of fixed-size lists."""
    made = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in values.shape[:0:-1]:
        made = pa.FixedSizeListArray.from_arrays(made, size)
    return made


def _lists(values: NDArray[Any], lengths: NDArray[np.int64]) -> pa.Array:
    """The first of each of the histories `(n, L, …)` as lists."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.LargeListArray.from_arrays(offsets, _fixed(values[np.arange(values.shape[1]) < lengths[:, None]]))


def write_groups(path: Path, tables: Iterable[pa.Table]) -> None:
    """Writes a file, each table a group of rows, with check sums that are looked at when it is read."""
    writer = None
    try:
        for table in tables:
            if writer is None:
                # Level 1 costs a third of the time of the usual one, and these files live as long as a training.
                options: dict[str, Any] = {"compression": "zstd", "compression_level": 1}
                writer = pq.ParquetWriter(path, table.schema, write_page_checksum=True, **options)
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
    finally:
        if writer is not None:
            writer.close()
