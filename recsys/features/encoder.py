"""Raw columns to model inputs: fitted once on the training window, the same offline and online."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.data.columns import ColumnTypeError, Kind, Role
from recsys.data.config import ColumnConfig, DataConfig, TableSide
from recsys.data.tables import Dataset
from recsys.data.values import expected_form, read_ids, read_values, role_from_json, role_to_json
from recsys.errors import ArtifactError, DataError, InputError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field
from recsys.features.config import FeaturesConfig, Transform, chosen_features
from recsys.features.transforms import FittedTransform, fit_transform, restore_transform

__all__ = ["FeatureEncoder", "canonical_values"]

_SIDES: tuple[TableSide, ...] = ("user", "item", "context")
_FORMAT = 2
_WITHOUT_ROLES = 1
"""The format of bundles that do not say how a column was read: its kind follows from the transform."""
_Transforms = Mapping[str, FittedTransform]
_Roles = Mapping[TableSide, Mapping[str, Role]]
_KINDS: dict[str, Kind] = {
    "categorical": "categorical",
    "hashed": "categorical",
    "multi_categorical": "multi_categorical",
    "time": "timestamp",
}


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
        roles: _Roles,
    ) -> None:
        self._transforms = transforms
        self._columns = columns
        self._history = history
        self._roles = roles

    @classmethod
    def fit(cls, config: FeaturesConfig, data: DataConfig, dataset: Dataset, fit_rows: NDArray[np.bool_]) -> Self:
        """Fits every transform on the training window.

        Ids and context columns are fitted on the chosen events, each counting once. Columns of the users and items
        tables are fitted on the rows of those who occur in these events, so that nothing later leaks into a
        vocabulary or a mean.

        Args:
            config: transforms by side; see `chosen_features`.
            data: kinds of the columns.
            dataset: canonical tables, and how their columns were read.
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
        history = tuple(n for n in config.history.fields if n in transforms["item"])
        roles = {side: _roles(side, columns[side].values(), data, dataset) for side in _SIDES}
        return cls(transforms, columns, history, roles)

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

    def encode_values(self, side: TableSide, column: str, values: Sequence[object]) -> dict[str, NDArray[np.generic]]:
        """Encodes raw values of a column, as a request has them, each as ingest would have read it.

        Args:
            side: whose column this is.
            column: one of `columns(side)`.
            values: n values: text, numbers, truth values, times, lists of these, `None`.

        Returns:
            By field name, as `encode` does, the fields that are made of the column.

        Raises:
            InputError: a value does not fit the column; names both and what to send.
        """
        canonical = canonical_values(f"{side}.{column}", self._roles[side][column], values)
        return {
            f"{side}.{name}": self._transforms[side][name].encode(canonical)
            for name, of in self._columns[side].items()
            if of == column
        }

    def read_ids(self, side: TableSide, ids: Sequence[object]) -> list[str | None]:
        """Canonical ids of raw ones, `None` where there is none. Raises `InputError` for a value that is no id."""
        role = self._roles[side][f"{side}_id"]
        try:
            return read_ids(ids, role)
        except ColumnTypeError as error:
            raise InputError(f"{role.column}: found {error.found}, expected an id: text or a whole number") from None

    def role(self, side: TableSide, column: str) -> Role:
        """How the raw values of a column are read."""
        return self._roles[side][column]

    def vocabulary(self, side: TableSide, column: str) -> pa.Array | None:
        """The categories of a column, most frequent first; `None` where no field lists them."""
        found = (self._transforms[side][n].vocabulary for n, of in self._columns[side].items() if of == column)
        return next((one for one in found if one is not None), None)

    def typical_number(self, side: TableSide, column: str) -> float | None:
        """A number such as a numeric column holds; `None` where no field tells one."""
        for name, of in self._columns[side].items():
            state = self._transforms[side][name].state() if of == column else {}
            if self._transforms[side][name].kind in ("standard", "min_max") and "mean" in state:
                return float(f"{state['mean']:.4g}")
            if state.get("edges"):
                return float(f"{state['edges'][len(state['edges']) // 2]:.4g}")
        return None

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
            if spec["format"] not in (_FORMAT, _WITHOUT_ROLES):
                raise ArtifactError(f"{folder}: feature format {spec['format']}, expected {_FORMAT}")
            transforms = {side: _restored(folder, side, spec[side]) for side in _SIDES}
            columns = {side: {str(one["name"]): str(one["column"]) for one in spec[side]} for side in _SIDES}
            roles = {side: _restored_roles(side, spec) for side in _SIDES}
            return cls(transforms, columns, tuple(spec["history"]), roles)
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
        roles = {side: {name: role_to_json(role) for name, role in self._roles[side].items()} for side in _SIDES}
        return {"format": _FORMAT, "history": list(self._history), **sides, "columns": roles}


def _occurring(table: pa.Table | None, log: pa.Table, id_column: str) -> pa.Table:
    if table is None:
        return pa.table({id_column: pa.array([], pa.large_string())})
    return table.filter(pc.is_in(table[id_column], value_set=pc.unique(log[id_column])))


def _roles(side: TableSide, columns: Iterable[str], data: DataConfig, dataset: Dataset) -> dict[str, Role]:
    """How the columns that are read, and the ids, were read; as the configuration says where ingest left no word."""
    saved, kinds = dataset.columns.get(side, {}), data.column_kinds(side)
    names = dict.fromkeys([*columns, *([] if side == "context" else [f"{side}_id"])])
    return {
        name: role_from_json(name, saved[name]) if name in saved else _default_role(name, kinds.get(name, "id"), data)
        for name in names
    }


def _default_role(name: str, kind: Kind, data: DataConfig) -> Role:
    tables = (data.interactions.context, data.users and data.users.columns, data.items and data.items.columns)
    found = next((table[name] for table in tables if table and name in table), None)
    separator = found.separator if isinstance(found, ColumnConfig) else " "
    return Role(name, name, kind, separator=separator, unit="text", null_values=data.null_values, settled=True)


def _restored_roles(side: TableSide, spec: Mapping[str, Any]) -> dict[str, Role]:
    if spec["format"] == _FORMAT:
        return {name: role_from_json(name, saved) for name, saved in spec["columns"][side].items()}
    kinds: dict[str, Kind] = {one["column"]: _KINDS.get(one["kind"], "numeric") for one in spec[side]}
    kinds |= {} if side == "context" else {f"{side}_id": "id"}
    return {name: Role(name, name, kind, unit="text", settled=True) for name, kind in kinds.items()}


def canonical_values(name: str, role: Role, values: Sequence[object]) -> pa.Array:
    """Raw values of a caller in the canonical type of their column.

    Raises:
        InputError: a value does not fit; `name` says whose.
    """
    try:
        parsed = read_values(values, role)
    except ColumnTypeError as error:
        raise InputError(f"{name}: found {error.found}, expected {expected_form(role)}") from None
    for mask in parsed.bad.values():
        if mask.any():
            found = values[int(mask.argmax())]
            raise InputError(f"{name}: found {found!r}, expected {expected_form(role)}")
    return parsed.values


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
