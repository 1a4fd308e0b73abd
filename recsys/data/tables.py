"""The canonical tables: what every later stage reads, whatever the user's files looked like.

`interactions` is sorted in the total order of events, `(timestamp, row)`, or `row` where there is no time. Its columns:

| column | type | present |
|---|---|---|
| `user_id`, `item_id` | `large_string` | always |
| `timestamp` | `timestamp[us, UTC]` | unless `order` is `row` or `none` and the log has no time |
| `row` | `int64`, the row among all source files in order | always |
| each label | `float32`, finite | as configured |
| each context column | by kind, see `KIND_TYPES` | as configured |
| `request_id` `large_string`, `exposed` `bool`, `position` `int32`, `propensity` `float32` | | as configured |
| `window` | `int8`, position in `WINDOWS` | as configured |

`users` and `items` hold `user_id` / `item_id` (unique) and the configured columns.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.config import ColumnKind
from recsys.errors import ArtifactError

__all__ = [
    "ID_TYPE",
    "KIND_TYPES",
    "LABEL_TYPE",
    "TIMESTAMP_TYPE",
    "WINDOWS",
    "Dataset",
    "event_columns",
    "write_parquet",
]

ID_TYPE = pa.large_string()
LABEL_TYPE = pa.float32()
TIMESTAMP_TYPE = pa.timestamp("us", tz="UTC")
KIND_TYPES: dict[ColumnKind, pa.DataType] = {
    "categorical": pa.large_string(),
    "multi_categorical": pa.list_(pa.large_string()),
    "numeric": pa.float64(),
    "text": pa.large_string(),
    "timestamp": TIMESTAMP_TYPE,
}

WINDOWS = ("recall", "rank", "valid", "test")
"""The windows of a split, in order: codes are positions here."""
_TABLES = ("interactions", "users", "items")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The three canonical tables; only `interactions` is always there."""

    interactions: pa.Table
    users: pa.Table | None = None
    items: pa.Table | None = None

    def save(self, folder: Path) -> None:
        """Writes `interactions.parquet` and, where present, `users.parquet` and `items.parquet` into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _TABLES:
            table: pa.Table | None = getattr(self, name)
            if table is not None:
                write_parquet(table, folder / f"{name}.parquet")
            else:
                # A table of an earlier save would otherwise come back with the next load.
                (folder / f"{name}.parquet").unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: `interactions.parquet` is missing, or a table cannot be read.
        """
        tables = {name: _read(folder / f"{name}.parquet") for name in _TABLES}
        interactions = tables["interactions"]
        if interactions is None:
            raise ArtifactError(
                f"{folder / 'interactions.parquet'}: found no such file, expected the canonical events; "
                "run the ingest stage again"
            )
        return cls(interactions, tables["users"], tables["items"])


def event_columns(folder: Path, *names: str) -> dict[str, pa.ChunkedArray]:
    """Those columns of the canonical events that are there, by name, without reading the others.

    Args:
        folder: what `Dataset.save` wrote into.
        names: of the columns.

    Raises:
        ArtifactError: the events are missing or cannot be read.
    """
    path = folder / "interactions.parquet"
    try:
        there = [name for name in names if name in pq.read_schema(path).names]
        return {name: column for name, column in zip(there, pq.read_table(path, columns=there).columns, strict=True)}
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"{path}: found an unreadable file ({error}), expected Parquet; run the ingest stage again"
        ) from error


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes a table so that a reader sees all of it or nothing."""
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial, compression="zstd")
    os.replace(partial, path)


def _read(path: Path) -> pa.Table | None:
    if not path.exists():
        return None
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"{path}: found an unreadable file ({error}), expected Parquet; run the ingest stage again"
        ) from error
