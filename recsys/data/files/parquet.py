"""Reads columns of Parquet files; fields of nested records by dotted name."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.data.files.plain import plain_array

__all__ = ["column_names", "read_columns"]


def column_names(path: Path) -> list[str]:
    """The columns, a record's fields by dotted name."""
    with pq.ParquetFile(path) as file:
        return list(_leaves(file.schema_arrow))


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Columns as plain arrays."""
    with pq.ParquetFile(path) as file:
        top = {name: _top(name, file.schema_arrow) for name in columns}
        table = file.read(columns=list(dict.fromkeys(top.values())))
    found = {}
    for name in columns:
        column = table[top[name]]
        for field in name.removeprefix(top[name]).split(".")[1:]:
            column = pc.struct_field(column, field)
        found[name] = plain_array(column)
    return pa.table(found)


def _leaves(fields: Sequence[pa.Field] | pa.Schema, prefix: str = "") -> Iterator[str]:
    for field in fields:
        if pa.types.is_struct(field.type) and field.type.num_fields:
            yield from _leaves(list(field.type), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _top(name: str, schema: pa.Schema) -> str:
    """The top-level column that a dotted name starts with."""
    return next((top for top in schema.names if name == top or name.startswith(f"{top}.")), name)
