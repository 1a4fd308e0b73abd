"""Rows of a log without users and items as model inputs: a row is a candidate, and its columns are `item.*` inputs."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from recsys.features.batch import Arrays, Codes, Field
from recsys.features.encoder import FeatureEncoder

__all__ = ["RowColumn", "log_inputs", "row_fields", "row_inputs"]


@dataclass(frozen=True, slots=True)
class RowColumn:
    """How a column of a row is read, as `recsys.data.columns.Role` has it.

    Attributes:
        name: its canonical name: `user_id`, `item_id`, or that of a context column.
        column: its name in the log.
        kind: what its values are.
        separator: splits the text of a `multi_categorical` cell.
        unit: of timestamps.
    """

    name: str
    column: str
    kind: str
    separator: str = " "
    unit: str = "auto"


def row_fields(encoder: FeatureEncoder) -> tuple[Field, ...]:
    """The inputs that the columns of a row become, in order."""
    fields = encoder.fields("context")
    return tuple(replace(field, name=_item(field.name), table=field.table and _item(field.table)) for field in fields)


def row_inputs(features: Arrays) -> Arrays:
    """`item.*` inputs `(N, 1, …)` of N rows that are scored one by one, of their encoded `context.*` columns."""
    return {_item(name): values[:, None] for name, values in features.items() if name.startswith("context.")}


def log_inputs(encoder: FeatureEncoder, log: pa.Table, rows: Codes) -> Arrays:
    """`item.*` inputs `(Q, G, …)` of rows of the log by their positions `(Q, G)`; 0 at −1."""
    encoded = encoder.encode("context", log.take(pa.array(np.maximum(rows, 0).ravel())))
    shaped = {_item(name): values.reshape(*rows.shape, *values.shape[1:]) for name, values in encoded.items()}
    padding = rows < 0
    if padding.any():
        for values in shaped.values():
            values[padding] = 0
    return shaped


def _item(name: str) -> str:
    return f"item.{name.partition('.')[2]}"
