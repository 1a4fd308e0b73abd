"""Rows of the log as a caller gives them, and what the ranker says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.errors import InputError
from recsys.features.batch import Codes, Floats, QueryBatch
from recsys.funnel.parts import FunnelParts
from recsys.funnel.queries import QueryEncoder, raw_table
from recsys.scoring.tasks import Tasks

__all__ = ["EncodedRows", "Predictions", "RowReader", "row_columns"]

_IDS = ("user_id", "item_id")


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the ranker says of N rows.

    Attributes:
        scores: `(N,)` the ranker's logits, of several tasks what candidates are ordered by; −inf for an unknown item.
        logits: `(N, T)` of each task.
        probabilities: `(N, T)` of each task; `None` from a bundle without calibration.
    """

    scores: Floats
    logits: Floats
    probabilities: NDArray[np.float64] | None

    @classmethod
    def joined(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Those of several batches of rows of one bundle, one after the other; at least one."""
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        return cls(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.logits for part in parts]),
            np.concatenate(probabilities) if probabilities else None,
        )


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """N rows as arrays: requests of one candidate each, its codes `(N, 1)`, −1 for an unknown item."""

    queries: QueryBatch
    codes: Codes


class RowReader:
    """Rows of the log, by its columns, made into arrays: with the stored history and features of user and item."""

    def __init__(self, parts: FunnelParts, queries: QueryEncoder) -> None:
        self._parts = parts
        self._queries = queries
        self._ids = {column.name: column.column for column in parts.rows if not parts.rows_only and column.name in _IDS}
        self._names = {column.column: column.name for column in parts.rows if column.name not in self._ids}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row, as the log names them."""
        return (*self._ids.values(), *self._names)

    def of_json(self, rows: Sequence[Mapping[str, object]]) -> EncodedRows:
        """Rows of raw values by the names of the log; a column that is not there counts as missing.

        Raises:
            InputError: a column is none of the log, an id is no text, or a value does not fit its column.
        """
        for place, row in enumerate(rows):
            for name in row:
                if name not in self.columns:
                    known = ", ".join(self.columns)
                    raise InputError(f"rows.{place}.{name}: the bundle does not read this column; it reads {known}")
        columns = {own: [row.get(column) for row in rows] for column, own in self._names.items()}
        given = {own: values for own, values in columns.items() if any(value is not None for value in values)}
        table = raw_table("context", given, len(rows))
        for name in self._ids:
            ids = [self._id(row, place, name) for place, row in enumerate(rows)]
            table = table.append_column(name, pa.array(ids, pa.large_string()))
        return self.of_table(table)

    def of_table(self, table: pa.Table) -> EncodedRows:
        """Rows in canonical types, by canonical names; a column that is not there counts as missing.

        Raises:
            DataError: a column has the wrong type.
        """
        context = self._parts.encoder.encode("context", table)
        missing = pa.nulls(table.num_rows, pa.large_string())
        names = table.column_names
        users, items = (
            table[name].combine_chunks() if name in names and name in self._ids else missing for name in _IDS
        )
        queries = self._queries.of_users(self._parts.users.encode(users), context=context)
        return EncodedRows(queries, self._codes(items))

    def _codes(self, items: pa.Array) -> Codes:
        # A row without an item is what is scored: there is nothing to look up.
        codes = np.zeros(len(items), np.int32) if self._parts.rows_only else self._parts.items.encode(items)
        return codes[:, None]

    def _id(self, row: Mapping[str, object], place: int, name: str) -> str | None:
        column = self._ids[name]
        value = row.get(column)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise InputError(f"rows.{place}.{column}: {value!r} is no id; send text or a whole number")


def row_columns(predictions: Predictions, tasks: Tasks | None) -> dict[str, pa.Array]:
    """`score`, null for what could not be scored, and `probability`, or `probability.<task>` of several tasks."""
    unknown = ~np.isfinite(predictions.scores)
    found = {"score": pa.array(predictions.scores, mask=unknown)}
    if predictions.probabilities is None:
        return found
    names = ["probability"] if tasks is None else [f"probability.{name}" for name in tasks.names]
    columns = zip(names, predictions.probabilities.T, strict=True)
    return found | {name: pa.array(np.ascontiguousarray(values), mask=unknown) for name, values in columns}
