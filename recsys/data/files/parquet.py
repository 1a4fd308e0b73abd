"""Reads columns of Parquet files; fields of nested records by dotted name."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.data.files.plain import UnreadableTypeError, plain_array
from recsys.errors import DataError

__all__ = ["column_names", "nested_column", "nested_names", "read_columns", "read_head"]


def column_names(path: Path) -> list[str]:
    """The columns, a record's fields by dotted name."""
    with pq.ParquetFile(path) as file:
        return list(nested_names(file.schema_arrow))


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Columns as plain arrays.

    Raises:
        DataError: A column is of a type that no reader knows.
    """
    with pq.ParquetFile(path) as file:
        top = {name: _top(name, file.schema_arrow.names) for name in columns}
        return pa.table({name: _column(file, path, name, top[name]) for name in columns})


def read_head(path: Path, rows: int) -> tuple[pa.Table, dict[str, str], float]:
    """Some rows: the columns that can be read, why others cannot, and the share of the file that the rows are."""
    with pq.ParquetFile(path) as file:
        total, schema = file.metadata.num_rows, file.schema_arrow
        found, unreadable = {}, {}
        for name in dict.fromkeys(nested_names(schema)):
            top = _top(name, schema.names)
            try:
                batch = next(file.iter_batches(batch_size=rows, columns=[top]), None)
                column = schema.empty_table()[top] if batch is None else batch.column(top)
                found[name] = nested_column(column, name, top)
            except (pa.ArrowException, UnreadableTypeError) as error:
                unreadable[name] = f"the type {schema.field(top).type} cannot be read ({error})"
    table = pa.table(found)
    return table, unreadable, table.num_rows / total if total else 1.0


def nested_names(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[str]:
    """The columns of a schema, a record's fields by dotted name."""
    for field in fields:
        if pa.types.is_struct(field.type) and field.type.num_fields:
            yield from nested_names(list(field.type), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def nested_column(column: pa.ChunkedArray | pa.Array, name: str, top: str) -> pa.Array:
    """The plain array of a field of a column, by its dotted name.

    Raises:
        UnreadableTypeError: There is no plain form of its type.
    """
    way = name.removeprefix(top).removeprefix(".")
    while way:
        fields = [field.name for field in column.type]
        step = _top(way, fields)
        column, way = pc.struct_field(column, fields.index(step)), way.removeprefix(step).removeprefix(".")
    return plain_array(column)


def _column(file: pq.ParquetFile, path: Path, name: str, top: str) -> pa.Array:
    try:
        return nested_column(file.read(columns=[top])[top], name, top)
    except (pa.ArrowException, UnreadableTypeError) as error:
        kind = file.schema_arrow.field(top).type
        raise DataError(
            f"{path}: column {name}: found the type {kind}, which cannot be read ({error}); "
            "expected text, numbers, times or lists of them"
        ) from error


def _top(name: str, names: Sequence[str]) -> str:
    """The column that a dotted name starts with."""
    return next((top for top in names if name == top or name.startswith(f"{top}.")), name)
