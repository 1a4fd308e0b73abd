"""Outside ids to integer codes and back; append-only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.data.tables import Dataset
from recsys.errors import ArtifactError, DataError
from recsys.features.batch import Codes

__all__ = ["Catalogue", "align", "item_catalogue", "user_catalogue"]

_SMALL = 64
"""Ids looked up one by one in a dictionary; larger batches go through Arrow."""


class Catalogue:
    """The codes of a set of ids: the code of an id is its position.

    Args:
        ids: unique ids in code order.

    Raises:
        DataError: an id is null or stands twice.

    Example:
        >>> catalogue = Catalogue(["a", "b"])
        >>> catalogue.encode(["b", "z"]).tolist()
        [1, -1]
        >>> catalogue.extend(["z", "a"]).encode(["a", "z"]).tolist()
        [0, 2]
    """

    def __init__(self, ids: pa.Array | Sequence[str]) -> None:
        self._ids = _strings(ids)
        if self._ids.null_count:
            raise DataError(f"catalogue: found {self._ids.null_count} null ids, expected none; drop those rows")
        if pc.count_distinct(self._ids).as_py() != len(self._ids):
            counts = self._ids.value_counts()
            twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0].as_py()
            raise DataError(f"catalogue: found the id {twice!r} more than once, expected unique ids")
        self._codes: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> pa.Array:
        """The ids in code order, `large_string`."""
        return self._ids

    def encode(self, ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> Codes:
        """`(n,)` int32 codes; −1 for an id that is not here."""
        if isinstance(ids, Sequence) and len(ids) <= _SMALL:
            if self._codes is None:
                self._codes = {text: code for code, text in enumerate(self._ids.to_pylist())}
            return np.array([self._codes.get(text, -1) for text in ids], dtype=np.int32)
        found = pc.index_in(_strings(ids), value_set=self._ids)
        return np.asarray(pc.fill_null(found, -1), dtype=np.int32)

    def decode(self, codes: Codes) -> pa.Array:
        """The ids of codes, `large_string`; null for −1."""
        if len(codes) <= _SMALL:
            few = [None if code < 0 else self._ids[code].as_py() for code in np.asarray(codes).tolist()]
            return pa.array(few, pa.large_string())
        return self._ids.take(pa.array(codes, mask=np.asarray(codes) < 0))

    def extend(self, ids: pa.Array | Sequence[str]) -> "Catalogue":
        """A catalogue with new ids appended in order of appearance; no code moves."""
        unique = pc.unique(_strings(ids)).drop_null()
        new = unique.filter(pc.invert(pc.is_in(unique, value_set=self._ids)))
        return Catalogue(pa.concat_arrays([self._ids, new]))

    def save(self, path: Path) -> None:
        """Writes one Parquet file."""
        pq.write_table(pa.table({"id": self._ids}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: the file is missing or is not a catalogue.
        """
        try:
            return cls(pq.read_table(path)["id"])
        except (OSError, KeyError, pa.ArrowException, DataError) as error:
            raise ArtifactError(f"{path}: not a catalogue ({error}); run the split stage again") from error


def item_catalogue(dataset: Dataset) -> Catalogue:
    """Items of the items table first (known from the start), then items of the log in order of first appearance."""
    return _catalogue(dataset.items, dataset.interactions, "item_id")


def user_catalogue(dataset: Dataset) -> Catalogue:
    """Users of the users table first, then users of the log in order of first appearance."""
    return _catalogue(dataset.users, dataset.interactions, "user_id")


def align(catalogue: Catalogue, table: pa.Table | None, id_column: str) -> pa.Table:
    """The rows of a users or items table in code order, null for ids without a row; the id column is always full."""
    if table is None:
        return pa.table({id_column: catalogue.ids})
    where = pc.index_in(catalogue.ids, value_set=_strings(table[id_column]))
    return table.take(where).set_column(table.column_names.index(id_column), id_column, catalogue.ids)


def _catalogue(known: pa.Table | None, interactions: pa.Table, column: str) -> Catalogue:
    first = Catalogue([] if known is None else known[column])
    return first.extend(interactions[column])


def _strings(ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> pa.Array:
    array = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, type=pa.large_string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(pa.large_string())
