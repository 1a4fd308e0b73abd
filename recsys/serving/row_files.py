"""Scores the rows of files with a bundle, into a Parquet file."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.data.columns import Role, Unfit, parse
from recsys.data.config import TableConfig
from recsys.data.files import Source, column_names, find_files, read_source
from recsys.errors import DataError, InputError
from recsys.features.rows import RowColumn
from recsys.funnel.rows import Predictions, row_columns
from recsys.funnel.runtime import Funnel

__all__ = ["ScoredFiles", "score_files"]

_CHUNK = 2**16
"""Rows encoded and scored together: bounds memory, whatever the file."""
_SHOWN = 80
"""Characters of an unreadable row in a message."""


@dataclass(frozen=True, slots=True)
class ScoredFiles:
    """What became of the rows.

    Attributes:
        rows: read.
        scored: of them.
        unfit: place and reason of the first row without a score; empty where all have one.
        missing: columns that the bundle reads and a file lacks: they count as missing in all its rows.
    """

    rows: int
    scored: int
    unfit: str
    missing: tuple[str, ...]


def score_files(funnel: Funnel, rows: str, out: Path) -> ScoredFiles:
    """Scores every row of a file, a folder of files or a pattern, file by file, and a bounded number of rows at a time.

    Writes `row` (from 0, over all files in order), `score`, and `probability`, or `probability.<task>` of several
    tasks, where the bundle has probabilities. A row that cannot be read, or whose item the bundle does not know, is
    there without a score.

    Args:
        funnel: the bundle.
        rows: the files: the columns of the log under the names of the log; others are ignored.
        out: the Parquet file to write; it is there only when all is written.

    Raises:
        InputError: the bundle cannot score rows.
        DataError: a file is missing or unreadable, or has none of the columns that the bundle reads.
    """
    config = TableConfig(path=rows)
    if funnel.parts.ranker is None or not funnel.parts.rows:
        why = "no ranker" if funnel.parts.ranker is None else "been built by an older recsys"
        raise InputError(f"bundle {funnel.manifest.name}: has {why}, so it cannot score rows; set `ranking:` and run")
    partial = out.with_name(out.name + ".partial")
    writer: pq.ParquetWriter | None = None
    found: list[ScoredFiles] = []
    try:
        for path in find_files(config, "rows"):
            table, report = _scored(funnel, path, config, sum(one.rows for one in found))
            found.append(report)
            writer = pq.ParquetWriter(partial, table.schema, compression="zstd") if writer is None else writer
            writer.write_table(table)
        assert writer is not None
        writer.close()
        os.replace(partial, out)
    finally:
        if writer is not None and writer.is_open:
            writer.close()
        partial.unlink(missing_ok=True)
    return ScoredFiles(
        rows=sum(one.rows for one in found),
        scored=sum(one.scored for one in found),
        unfit=next((one.unfit for one in found if one.unfit), ""),
        missing=tuple(dict.fromkeys(name for one in found for name in one.missing)),
    )


@dataclass(frozen=True, slots=True)
class _Unfit:
    """Rows of a table that cannot be scored: the column, empty for none, and what was expected."""

    mask: NDArray[np.bool_]
    column: str
    reason: str


def _scored(funnel: Funnel, path: Path, config: TableConfig, first: int) -> tuple[pa.Table, ScoredFiles]:
    present, missing = _columns(funnel, path, config)
    source = read_source(path, config, list(dict.fromkeys(column.column for column in present)))
    table, unfit = _parsed(source, present)
    parts = [table.slice(start, _CHUNK) for start in range(0, max(table.num_rows, 1), _CHUNK)]
    predictions = Predictions.joined([funnel.predict_rows(funnel.rows.of_table(part)) for part in parts])
    unknown = ~np.isfinite(predictions.scores)
    unfit.append(_Unfit(unknown, "", "the bundle does not know this item, expected one of its catalogue"))
    assert funnel.parts.ranker is not None
    kept = np.flatnonzero(~np.logical_or.reduce([one.mask for one in unfit]))
    total = len(source.records) + len(source.bad)
    places = np.full(total, -1, dtype=np.int64)
    places[source.records[kept]] = kept
    order = pa.array(places, mask=places < 0)
    columns = {name: v.take(order) for name, v in row_columns(predictions, funnel.parts.ranker.tasks).items()}
    result = pa.table({"row": np.arange(first, first + total), **columns})
    return result, ScoredFiles(total, len(kept), _first(source, unfit), missing)


def _columns(funnel: Funnel, path: Path, config: TableConfig) -> tuple[list[RowColumn], tuple[str, ...]]:
    """The columns of a file that the bundle reads, and the names of those that the file lacks."""
    there = set(column_names(path, config))
    present = [column for column in funnel.parts.rows if column.column in there]
    missing = tuple(column.column for column in funnel.parts.rows if column.column not in there)
    if not present:
        raise DataError(f"{path}: found none of the columns that the bundle reads: {', '.join(missing)}")
    lost = [column.column for column in funnel.parts.rows if column.name == "item_id" and column.column in missing]
    if lost and not funnel.parts.rows_only:
        raise DataError(f"{path}: column {lost[0]}: found no such column, expected the item that each row is about")
    return present, missing


def _parsed(source: Source, columns: list[RowColumn]) -> tuple[pa.Table, list[_Unfit]]:
    """The rows in canonical types, and which of them do not fit."""
    values: dict[str, pa.Array] = {}
    unfit: list[_Unfit] = []
    for column in columns:
        try:
            parsed = parse(_one_chunk(source.table[column.column]), Role(**asdict(column)))
        except Unfit as error:
            raise DataError(f"{source.path}: column {column.column}: {error}") from error
        values[column.name] = parsed.values
        unfit += [_Unfit(mask, column.column, reason) for reason, mask in parsed.bad.items()]
    return pa.table(values), unfit


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _first(source: Source, unfit: list[_Unfit]) -> str:
    """Place and reason of the first row without a score; empty where all have one."""
    found = {bad.record: f"found {bad.value[:_SHOWN]!r}, {bad.reason}" for bad in source.bad[:1]}
    for one in unfit:
        if one.mask.any():
            row = int(one.mask.argmax())
            shown = f"column {one.column}: found {source.table[one.column][row].as_py()!r}, " if one.column else ""
            found.setdefault(int(source.records[row]), shown + one.reason)
    if not found:
        return ""
    record = min(found)
    return f"{source.path}:{source.lines([record]).get(record, record + 1)}: {found[record]}"
