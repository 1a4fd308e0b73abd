"""Raw columns to model inputs: fitted once on the training window, the same offline and online."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.data.config import DataConfig, TableSide
from recsys.data.tables import Dataset
from recsys.errors import ArtifactError, DataError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field
from recsys.features.config import FeaturesConfig, Transform, chosen_features
from recsys.features.transforms import FittedTransform, fit_transform, restore_transform

__all__ = ["FeatureEncoder"]

_SIDES: tuple[TableSide, ...] = ("user", "item", "context")
_FORMAT = 1
_Transforms = Mapping[str, FittedTransform]


class FeatureEncoder:
    """The fitted transforms of every side.

    Example:
        `encoder.encode("user", table)` gives `{"user.age": (n,) int64, "user.gender": …}` in the order of
        `encoder.fields("user")`.
    """

    def __init__(
        self,
        transforms: Mapping[TableSide, _Transforms],
        columns: Mapping[TableSide, Mapping[str, str]],
        history: tuple[str, ...],
    ) -> None:
        self._transforms = transforms
        self._columns = columns
        self._history = history

    @classmethod
    def fit(cls, config: FeaturesConfig, data: DataConfig, dataset: Dataset, fit_rows: NDArray[np.bool_]) -> Self:
        """Fits every transform on the training window.

        Ids and context columns are fitted on the chosen events, each counting once. Columns of the users and items
        tables are fitted on the rows of those who occur in these events, so that nothing later leaks into a
        vocabulary or a mean.

        Args:
            config: transforms by side; see `chosen_features`.
            data: kinds of the columns.
            dataset: canonical tables.
            fit_rows: `(N,)` which events belong to the training window.

        Raises:
            DataError: a column is missing, or its values do not fit its transform.
        """
        log = dataset.interactions.filter(pa.array(fit_rows))
        sources: dict[TableSide, pa.Table] = {
            "user": _occurring(dataset.users, log, "user_id"),
            "item": _occurring(dataset.items, log, "item_id"),
            "context": log,
        }
        chosen = {side: chosen_features(config, data, side) for side in _SIDES}
        columns = {side: {name: t.column or name for name, t in chosen[side].items()} for side in _SIDES}
        transforms = {
            side: {
                name: _fitted(side, name, transform, columns[side][name], log, sources[side])
                for name, transform in chosen[side].items()
            }
            for side in _SIDES
        }
        return cls(transforms, columns, tuple(n for n in config.history.fields if n in transforms["item"]))

    def fields(self, side: TableSide) -> tuple[Field, ...]:
        """The model inputs of a side, in order; every index field has an embedding table of its own."""
        return tuple(_field(side, name, transform, side) for name, transform in self._transforms[side].items())

    def history_fields(self) -> tuple[Field, ...]:
        """The inputs of past items, which share the embedding tables of `item.*`, and their mask; none if unused."""
        item = self._transforms["item"]
        found = tuple(_field("history", name, item[name], "item") for name in self._history)
        return (*found, HISTORY_MASK) if found else ()

    def encode(self, side: TableSide, table: pa.Table) -> dict[str, NDArray[np.generic]]:
        """Encodes the columns of a table.

        Args:
            side: whose columns these are.
            table: n rows; a column that is not there counts as missing throughout.

        Returns:
            By field name: `(n,)` or `(n, width)`, int64 embedding rows or float32 numbers.

        Raises:
            DataError: a column has the wrong type; names the column and a value.
        """
        missing = pa.nulls(table.num_rows)
        return {
            f"{side}.{name}": _encoded(side, name, transform, _column(table, self._columns[side][name], missing))
            for name, transform in self._transforms[side].items()
        }

    def reading(self, side: TableSide, column: str) -> tuple[str, ...]:
        """Names of the fields that are made of a column."""
        return tuple(f"{side}.{name}" for name, of in self._columns[side].items() if of == column)

    def columns(self, side: TableSide) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys(self._columns[side].values()))

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides what a value becomes."""
        digest = hashlib.sha256(json.dumps(self._spec(), sort_keys=True).encode())
        for side in _SIDES:
            for transform in self._transforms[side].values():
                values = [] if transform.vocabulary is None else transform.vocabulary.to_pylist()
                digest.update(json.dumps(values).encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Writes `spec.json` and a Parquet file for each vocabulary into an existing folder."""
        for side in _SIDES:
            # Files are numbered: a column may be named in any alphabet, with slashes.
            for number, transform in enumerate(self._transforms[side].values()):
                if transform.vocabulary is not None:
                    pq.write_table(pa.table({"value": transform.vocabulary}), folder / f"{side}-{number}.parquet")
        text = json.dumps(self._spec(), ensure_ascii=False, indent=1)
        (folder / "spec.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: a file is missing, damaged or of another format.
        """
        try:
            spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
            if spec["format"] != _FORMAT:
                raise ArtifactError(f"{folder}: feature format {spec['format']}, expected {_FORMAT}")
            transforms = {side: _restored(folder, side, spec[side]) for side in _SIDES}
            columns = {side: {str(one["name"]): str(one["column"]) for one in spec[side]} for side in _SIDES}
            return cls(transforms, columns, tuple(spec["history"]))
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise ArtifactError(f"{folder}: not a feature encoder ({error}); run the features stage again") from error

    def _spec(self) -> dict[str, Any]:
        sides: dict[str, Any] = {
            side: [
                {"name": name, "column": self._columns[side][name], "kind": t.kind, **t.state()}
                for name, t in self._transforms[side].items()
            ]
            for side in _SIDES
        }
        return {"format": _FORMAT, "history": list(self._history), **sides}


def _occurring(table: pa.Table | None, log: pa.Table, id_column: str) -> pa.Table:
    if table is None:
        return pa.table({id_column: pa.array([], pa.large_string())})
    return table.filter(pc.is_in(table[id_column], value_set=pc.unique(log[id_column])))


def _fitted(
    side: TableSide, name: str, config: Transform, column: str, log: pa.Table, own: pa.Table
) -> FittedTransform:
    # Ids count once an event, other columns once a user or item.
    table = log if column == f"{side}_id" else own
    if column not in table.column_names:
        raise DataError(f"features.{side}.{name}: no column {column}; found {', '.join(table.column_names)}")
    try:
        return fit_transform(config, _plain(table[column]))
    except DataError as error:
        raise DataError(f"{side}.{name}: {error}") from None


def _encoded(side: TableSide, name: str, transform: FittedTransform, column: pa.Array) -> NDArray[np.generic]:
    try:
        return transform.encode(column)
    except DataError as error:
        raise DataError(f"{side}.{name}: {error}") from None


def _column(table: pa.Table, name: str, missing: pa.Array) -> pa.Array:
    where = table.schema.get_field_index(name)
    return missing if where < 0 else _plain(table.column(where))


def _plain(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _field(prefix: str, name: str, fitted: FittedTransform, of: str) -> Field:
    if fitted.rows:
        return Field(f"{prefix}.{name}", rows=fitted.rows, width=fitted.width, table=f"{of}.{name}")
    missing = float(fitted.encode(pa.nulls(1))[0])
    return Field(f"{prefix}.{name}", rows=0, width=fitted.width, table="", missing=missing)


def _restored(folder: Path, side: str, specs: list[dict[str, Any]]) -> dict[str, FittedTransform]:
    transforms = {}
    for number, spec in enumerate(specs):
        path = folder / f"{side}-{number}.parquet"
        vocabulary = pq.read_table(path)["value"].combine_chunks() if path.exists() else None
        if vocabulary is None and spec["kind"] in ("categorical", "multi_categorical"):
            raise ArtifactError(f"{path}: no such file; run the features stage again")
        transforms[spec["name"]] = restore_transform(spec["kind"], spec, vocabulary)
    return transforms
