"""From the user's files to the canonical tables: every row is kept, a counted duplicate, or rejected and told why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.attributes import attribute_table
from recsys.data.columns import ColumnTypeError, Kind, Role, parse
from recsys.data.config import (
    ColumnConfig,
    ColumnKind,
    DataConfig,
    InteractionsConfig,
    ItemsConfig,
    TableConfig,
    UsersConfig,
)
from recsys.data.files import Source, column_names, read_source
from recsys.data.offsets import add_offset
from recsys.data.placeholders import dominant_ids
from recsys.data.plain import plain_array
from recsys.data.tables import Dataset, write_parquet
from recsys.data.values import role_from_json, role_to_json
from recsys.data.windows import described, window_files
from recsys.errors import DataError

__all__ = ["IngestReport", "SourceFile", "TableReport", "ingest", "row_roles"]

_REJECTED = pa.schema(
    [
        ("table", pa.large_string()),
        ("file", pa.large_string()),
        ("line", pa.int64()),
        ("column", pa.large_string()),
        ("value", pa.large_string()),
        ("reason", pa.large_string()),
    ]
)
_NAMED = 5  # rejects spelt out in an error
_LONGEST = 500  # characters kept of a rejected value

Mask = NDArray[np.bool_]
Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read: its rows, unreadable ones included, the SHA-256 of its bytes, and what was recognised."""

    path: str
    rows: int
    sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableReport:
    """What became of the rows of a table: `read == kept + rejected + duplicates + not_sampled`."""

    read: int
    kept: int
    rejected: int
    duplicates: int
    sources: tuple[SourceFile, ...]
    not_sampled: int = 0


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of every row, by table, and what looks wrong although it could be read."""

    tables: dict[str, TableReport]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def ingest(config: DataConfig, folder: Path) -> IngestReport:
    """Reads, checks and orders the tables.

    Writes `interactions.parquet`, `users.parquet`, `items.parquet` (see `recsys.data.tables`) and `rejected.parquet`
    (table, file, line, column, value, reason; the header of a CSV file is line 1, of Parquet the line is the row) into
    `folder`, once all tables are known to be good.

    Raises:
        DataError: A file is missing or unreadable, a column is missing or of the wrong type, a table is empty, or more
            than `max_reject_share` of its rows are rejected.
    """
    interactions = _load(config.interactions, "interactions", _interaction_roles(config), config)
    users = _entities(interactions, "users", config)
    items = _entities(interactions, "items", config)
    loaded = {"interactions": interactions, "users": users, "items": items}
    present = {name: part for name, part in loaded.items() if part is not None}

    Dataset(
        interactions=_in_order(_without_attributes(interactions.table), config),
        users=users.table if users else None,
        items=items.table if items else None,
        columns=_columns(present, config),
    ).save(folder)
    write_parquet(pa.concat_tables(part.rejected for part in present.values()), folder / "rejected.parquet")
    warnings = dominant_ids(interactions.table, config)
    return IngestReport({name: part.report for name, part in present.items()}, warnings)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The good rows of a table in file order; the rejected ones; the counts; how each column was read."""

    table: pa.Table
    rejected: pa.Table
    report: TableReport
    roles: Sequence[Role]


def _columns(tables: Mapping[str, _Loaded], config: DataConfig) -> dict[str, dict[str, dict[str, Any]]]:
    """How the columns of each side were read; ids as in the log."""
    of = {name: {role.name: role_to_json(role) for role in part.roles} for name, part in tables.items()}
    log = of["interactions"]
    ids = {side: {f"{side}_id": log[f"{side}_id"]} for side in ("user", "item") if f"{side}_id" in log}
    return {
        "user": {**of.get("users", {}), **ids.get("user", {})},
        "item": {**of.get("items", {}), **ids.get("item", {})},
        "context": {name: log[name] for name in config.interactions.context if name in log},
    }


@dataclass(frozen=True, slots=True)
class _Raw:
    """The columns of all files of a table as they are, and where each row came from.

    Attributes:
        table: One chunk a column, N rows.
        sources: The files.
        source: Which file, shape (N,).
        record: Which row of that file, from 0, shape (N,).
        row: Which row over all files, unreadable ones counted, shape (N,).
    """

    table: pa.Table
    sources: Sequence[Source]
    source: Int
    record: Int
    row: Int


@dataclass(frozen=True, slots=True)
class _Problem:
    """Rows that do not fit: the column of the files, what was expected, a mask of shape (N,)."""

    column: str
    reason: str
    mask: Mask


EntityName = Literal["users", "items"]
_ENTITIES: dict[EntityName, str] = {"users": "user_id", "items": "item_id"}
_ATTRIBUTE = "\0"
"""Begins the names of such columns among those of the log; no name of the user's does."""


def _interaction_roles(config: DataConfig) -> list[Role]:
    table = config.interactions
    ids = {"user_id": table.user_id, "item_id": table.item_id}
    roles = [Role(name, column, "id", required=True) for name, column in ids.items() if column is not None]
    if table.timestamp is not None:
        roles.append(Role("timestamp", table.timestamp, "timestamp", required=True, unit=table.timestamp_unit))
    roles += [Role(label, label, "label", required=True) for label in table.labels]
    if table.request_id is not None:
        roles.append(Role("request_id", table.request_id, "id"))
    if table.exposed is not None:
        roles.append(Role("exposed", table.exposed, "flag"))
    if table.position is not None:
        roles.append(Role("position", table.position, "position"))
    if table.propensity is not None:
        roles.append(Role("propensity", table.propensity, "propensity"))
    if table.window is not None:
        roles.append(Role("window", table.window, "window", required=True))
    if table.timestamp_offset is not None:
        kind: Kind = "text" if table.timestamp_offset.unit == "clock" else "numeric"
        roles.append(Role("timestamp_offset", table.timestamp_offset.column, kind, required=True))
    roles += [role for role in _feature_roles(table.context) if role.name != "timestamp"]
    return roles + [role for key, part in _ENTITIES.items() for role in _attribute_roles(key, part, config)]


def _attribute_roles(key: EntityName, part: str, config: DataConfig) -> Iterator[Role]:
    """Columns of the log that become those of a table of users or items."""
    table = config.users if key == "users" else config.items
    if table is not None and table.source is not None:
        for role in _entity_roles(part, part, table)[1:]:
            yield replace(role, name=f"{_ATTRIBUTE}{key}.{role.name}")


def row_roles(config: DataConfig, columns: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[Role, ...]:
    """How the columns of a row are read that is scored: ids and context, none of which it must have.

    Args:
        config: names of the columns in the log.
        columns: `Dataset.columns`: how they were read.
    """
    read = dict(columns.get("context", {})) | {
        f"{side}_id": columns[side][f"{side}_id"] for side in ("user", "item") if f"{side}_id" in columns.get(side, {})
    }
    return tuple(
        replace(role_from_json(role.name, read[role.name]), column=role.column)
        for role in _interaction_roles(config)
        if role.name in read
    )


def _entity_roles(name: str, column: str, table: UsersConfig | ItemsConfig) -> list[Role]:
    roles = [Role(name, column, "id", required=True), *_feature_roles(table.columns)]
    title = table.title if isinstance(table, ItemsConfig) else None
    if title is not None and title not in table.columns:
        roles.append(Role(title, title, "text"))
    return roles


def _feature_roles(columns: Mapping[str, ColumnKind | ColumnConfig]) -> Iterator[Role]:
    for name, column in columns.items():
        if isinstance(column, ColumnConfig):
            yield Role(name, name, column.kind, separator=column.separator, unit=column.unit)
        else:
            yield Role(name, name, column)


def _entities(log: _Loaded, name: EntityName, config: DataConfig) -> _Loaded | None:
    """The users or the items: of a file of their own, or of columns of the log."""
    table = config.users if name == "users" else config.items
    part = _ENTITIES[name]
    if table is None:
        return None
    if table.source is None:
        column = table.user_id if isinstance(table, UsersConfig) else table.item_id
        return _load(table, name, _entity_roles(part, column, table), config)
    names = [(role.name, role.column) for role in _attribute_roles(name, part, config)]
    found, varying = attribute_table(log.table, part, names)
    worst = max(varying, key=varying.__getitem__, default="")
    if worst and varying[worst] > table.max_varying_share:
        path, noun, share = described(config.interactions), name[:-1], varying[worst]
        raise DataError(
            f"{path}: column {worst}: found {share:.1%} of the rows with another value than the most frequent of their "
            f"{noun}, expected at most {table.max_varying_share:.1%} (data.{name}.max_varying_share) of a column of "
            f"data.{name}: it changes over time; name it under data.interactions.context if it is known when a request "
            "is made, else leave it out"
        )
    rows = found.num_rows
    prefix = f"{_ATTRIBUTE}{name}."
    roles = [replace(r, name=r.name.removeprefix(prefix)) for r in log.roles if r.name.startswith(prefix)]
    return _Loaded(found, _REJECTED.empty_table(), TableReport(rows, rows, 0, 0, ()), roles)


def _without_attributes(log: pa.Table) -> pa.Table:
    """The log without the columns that became those of users and items."""
    return log.select([name for name in log.column_names if not name.startswith(_ATTRIBUTE)])


def _with_offset(table: pa.Table, config: TableConfig) -> tuple[pa.Table, list[_Problem]]:
    """Adds the time within the day or the session to the timestamp."""
    if not isinstance(config, InteractionsConfig) or config.timestamp_offset is None:
        return table, []
    offset = config.timestamp_offset
    at = table.column_names.index("timestamp")
    moments, mask = add_offset(_chunk(table["timestamp"]), _chunk(table["timestamp_offset"]), offset.unit)
    expected = "a time of day such as 14:05" if offset.unit == "clock" else f"a number of {offset.unit}"
    problem = _Problem(offset.column, f"expected {expected}", mask)
    return table.set_column(at, "timestamp", moments).drop_columns("timestamp_offset"), [problem] if mask.any() else []


def _load(config: TableConfig, name: str, roles: Sequence[Role], data: DataConfig) -> _Loaded:
    files, windows = zip(*window_files(config, name), strict=True)
    roles = [role for role in roles if not _may_lack(role, config, data, files[0])]
    roles = [
        replace(role, decimal=config.decimal, thousands=config.thousands, null_values=data.null_values)
        for role in roles
    ]
    raw = _read(files, config, name, list(dict.fromkeys(role.column for role in roles)))
    table, problems, settled = _parse(raw, roles)
    table, late = _with_offset(table, config)
    problems += late
    repeated = np.zeros(table.num_rows, dtype=np.bool_)
    good = ~_union(problems, table.num_rows)
    if name != "interactions":
        reason = f"expected one row per {roles[0].name}; the first is kept"
        problems.append(_Problem(roles[0].column, reason, _repeated(table, roles[:1], good)))
    elif data.duplicates == "drop" and not data.rows_only:
        key = [role for role in roles if role.name in ("user_id", "item_id", "timestamp", "request_id")]
        repeated = _repeated(table, key, good)
    bad = _union(problems, table.num_rows)
    outside = np.zeros(table.num_rows, dtype=np.bool_)
    if name == "interactions" and data.sample < 1:
        outside = ~bad & ~repeated & ~_sampled(_sampled_by(table, raw, data), data.sample)
    keep = ~bad & ~repeated & ~outside
    read = sum(source.size for source in raw.sources)
    report = TableReport(
        read=read,
        kept=int(keep.sum()),
        rejected=read - int(keep.sum()) - int(repeated.sum()) - int(outside.sum()),
        duplicates=int(repeated.sum()),
        not_sampled=int(outside.sum()),
        sources=tuple(SourceFile(str(source.path), source.size, source.sha256, source.notes) for source in raw.sources),
    )
    rejected = _rejected(raw, problems, name)
    _check(report, rejected, config, name, data)
    if name == "interactions":
        table = table.append_column("row", pa.array(raw.row))
    if windows[0] is not None:
        table = table.append_column("window", pa.array(np.array(windows, dtype=np.int8)[raw.source]))
    return _Loaded(table.filter(pa.array(keep)), rejected, report, settled)


def _read(files: Sequence[Path], config: TableConfig, name: str, columns: Sequence[str]) -> _Raw:
    sources = [read_source(path, config, columns) for path in files]
    if not any(source.size for source in sources):
        raise DataError(f"{described(config)}: table {name}: found no rows, expected at least one")
    records = [len(source.records) + len(source.bad) for source in sources]
    starts = np.cumsum([0, *records])
    return _Raw(
        table=_joined(sources, columns),
        sources=sources,
        source=np.repeat(np.arange(len(sources)), [len(source.records) for source in sources]),
        record=np.concatenate([source.records for source in sources]),
        row=np.concatenate([start + source.records for start, source in zip(starts, sources, strict=False)]),
    )


def _joined(sources: Sequence[Source], columns: Sequence[str]) -> pa.Table:
    try:
        return pa.concat_tables([source.table for source in sources], promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        for column in columns:
            _check_same_type(sources, column, error)
        raise


def _check_same_type(sources: Sequence[Source], column: str, error: pa.ArrowException) -> None:
    first = sources[0]
    for other in sources[1:]:
        found, expected = other.table[column].type, first.table[column].type
        if found != expected:
            raise DataError(
                f"{other.path}: column {column}: found the type {found}, expected {expected} as in {first.path}"
            ) from error


def _parse(raw: _Raw, roles: Sequence[Role]) -> tuple[pa.Table, list[_Problem], list[Role]]:
    """The canonical columns, the problems in the order of the columns, and how each column was read."""
    values: dict[str, pa.Array] = {}
    problems, settled = [], []
    for role in roles:
        try:
            parsed = parse(_chunk(raw.table[role.column]), role)
        except ColumnTypeError as error:
            raise DataError(f"{raw.sources[0].path}: column {role.column}: {error}") from error
        values[role.name] = parsed.values
        settled.append(parsed.role)
        problems += [_Problem(role.column, reason, mask) for reason, mask in parsed.bad.items() if mask.any()]
    return pa.table(values), problems, settled


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _union(problems: Sequence[_Problem], n: int) -> Mask:
    mask = np.zeros(n, dtype=np.bool_)
    for problem in problems:
        mask |= problem.mask
    return mask


def _repeated(table: pa.Table, key: Sequence[Role], among: Mask) -> Mask:
    """The rows whose key stands in an earlier row; only rows of `among` are looked at."""
    rows = np.flatnonzero(among)
    codes = {}
    for role in key:
        column = _chunk(table[role.name])
        if pa.types.is_large_string(column.type):
            column = column.dictionary_encode().indices.fill_null(-1)
        else:
            column = column.cast(pa.int64())
        codes[role.name] = column.to_numpy(zero_copy_only=False)[rows]
    mask = np.zeros(table.num_rows, dtype=np.bool_)
    mask[rows] = pd.DataFrame(codes).duplicated(keep="first").to_numpy()
    return mask


def _sampled_by(table: pa.Table, raw: _Raw, data: DataConfig) -> pa.ChunkedArray:
    """What a sample is a share of: users, else lists, else rows."""
    if not data.rows_only:
        return table["user_id"]
    rows = pa.chunked_array([pa.array(raw.row).cast(pa.large_string())])
    return pc.coalesce(table["request_id"], rows) if "request_id" in table.column_names else rows


def _sampled(users: pa.ChunkedArray, share: float) -> Mask:
    """The rows of the users whose hash falls into the first `share` of all hashes: the same users in every run."""
    encoded = _chunk(users).dictionary_encode()
    hashes = pd.util.hash_array(encoded.dictionary.to_numpy(zero_copy_only=False).astype(object), categorize=False)
    chosen: Mask = (hashes < np.uint64(share * 2**64))[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return chosen


def _rejected(raw: _Raw, problems: Sequence[_Problem], name: str) -> pa.Table:
    """One row a rejected row, with the first thing wrong with it, in the order of the files."""
    found: dict[tuple[int, int], tuple[str | None, str | None, str]] = {}
    for index, source in enumerate(raw.sources):
        for bad in source.bad:
            found[index, bad.record] = (bad.column, bad.value, bad.reason)
    for problem in problems:
        rows = np.flatnonzero(problem.mask)
        values = plain_array(_chunk(raw.table[problem.column])).take(pa.array(rows)).to_pylist()
        for row, value in zip(rows, values, strict=True):
            place = (int(raw.source[row]), int(raw.record[row]))
            found.setdefault(place, (problem.column, None if value is None else str(value), problem.reason))
    lines = [
        source.lines(record for index, record in found if index == number) for number, source in enumerate(raw.sources)
    ]
    rows_out = [
        {
            "table": name,
            "file": str(raw.sources[index].path),
            "line": lines[index].get(record),
            "column": column,
            "value": None if value is None else value[:_LONGEST],
            "reason": reason,
        }
        for (index, record), (column, value, reason) in sorted(found.items(), key=lambda entry: entry[0])
    ]
    return pa.Table.from_pylist(rows_out, schema=_REJECTED)


def _may_lack(role: Role, config: TableConfig, data: DataConfig, first: Path) -> bool:
    """Whether to do without the time: nothing needs it, nobody named it, and the file has none."""
    needed = role.name != "timestamp" or data.order == "timestamp" or not isinstance(config, InteractionsConfig)
    return not (needed or "timestamp" in config.model_fields_set or role.column in column_names(first, config))


def _check(report: TableReport, rejected: pa.Table, config: TableConfig, name: str, data: DataConfig) -> None:
    max_share = data.max_reject_share
    if report.rejected > max_share * report.read:
        first = [
            f"  {_place(row)}: found {_found(row['value'])}, {row['reason']}"
            for row in rejected.slice(0, _NAMED).to_pylist()
        ]
        raise DataError(
            f"{described(config)}: table {name}: found {report.rejected:,} of {report.read:,} rows rejected, "
            f"expected at most {max_share:.2%} (data.max_reject_share); the first of them:\n" + "\n".join(first)
        )
    if not report.kept and report.not_sampled:
        raise DataError(
            f"{described(config)}: table {name}: found no {'row' if data.rows_only else 'user'} in a sample of "
            f"{data.sample:.3%}, expected at least one; raise data.sample"
        )
    if not report.kept:
        raise DataError(f"{described(config)}: table {name}: found no row that could be kept, expected at least one")


def _place(row: dict[str, Any]) -> str:
    place = f"{row['file']}:{row['line']}"
    return place if row["column"] is None else f"{place}: column {row['column']}"


def _found(value: str | None) -> str:
    return "nothing" if value is None else repr(value)


def _in_order(interactions: pa.Table, config: DataConfig) -> pa.Table:
    if config.order != "timestamp":
        return interactions
    time = interactions["timestamp"].to_numpy()
    # Rows are in file order already, so a stable sort by time alone gives (timestamp, row).
    return interactions.take(pa.array(np.argsort(time, kind="stable")))
