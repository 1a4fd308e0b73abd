"""Scores the rows of files with a bundle, into a Parquet file."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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


def _scored(funnel: Funnel, path: Path, config: TableConfig, first: int) -> tuple[pa.Table, ScoredFiles]:
    there = set(column_names(path, config))
    present = [column for column in funnel.parts.rows if column.column in there]
    missing = tuple(column.column for column in funnel.parts.rows if column.column not in there)
    if not present:
        raise DataError(f"{path}: found none of the columns that the bundle reads: {', '.join(missing)}")
    source = read_source(path, config, list(dict.fromkeys(column.column for column in present)))
    table, unfit = _parsed(source, present)
    predictions = Predictions.joined(
        [
            funnel.predict_rows(funnel.rows.of_table(table.slice(start, _CHUNK)))
            for start in range(0, max(table.num_rows, 1), _CHUNK)
        ]
    )
    assert funnel.parts.ranker is not None
    columns = row_columns(predictions, funnel.parts.ranker.tasks)
    kept = pa.array(np.flatnonzero(~np.isin(np.arange(table.num_rows), list(unfit))))
    records = source.records[kept.to_numpy()]
    total = len(source.records) + len(source.bad)
    places = np.full(total, -1, dtype=np.int64)
    places[records] = np.arange(len(records))
    order = pa.array(places, mask=places < 0)
    scored = {name: values.take(kept).take(order) for name, values in columns.items()}
    result = pa.table({"row": np.arange(first, first + total), **scored})
    reasons = {int(source.records[row]): reason for row, reason in unfit.items()}
    reasons |= {bad.record: f"{bad.reason}, found {bad.value[:80]!r}" for bad in source.bad}
    return result, ScoredFiles(total, total - result["score"].null_count, _first(source, reasons), missing)


def _parsed(source: Source, columns: list[RowColumn]) -> tuple[pa.Table, dict[int, str]]:
    """The rows in canonical types, and which of them do not fit, with the reason."""
    values: dict[str, pa.Array] = {}
    unfit: dict[int, str] = {}
    for column in columns:
        raw = source.table[column.column].combine_chunks()
        raw = raw if isinstance(raw, pa.Array) else pa.concat_arrays(raw.chunks)
        try:
            parsed = parse(raw, Role(**asdict(column)))
        except Unfit as error:
            raise DataError(f"{source.path}: column {column.column}: {error}") from error
        values[column.name] = parsed.values
        for reason, mask in parsed.bad.items():
            for row in np.flatnonzero(mask).tolist():
                unfit.setdefault(row, f"column {column.column}: found {raw[row].as_py()!r}, {reason}")
    return pa.table(values), unfit


def _first(source: Source, reasons: dict[int, str]) -> str:
    if not reasons:
        return ""
    record = min(reasons)
    line = source.lines([record]).get(record, record + 1)
    return f"{source.path}:{line}: {reasons[record]}"
