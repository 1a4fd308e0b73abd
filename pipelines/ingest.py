"""`ingest`: the user's files become canonical tables."""

import json
from functools import partial
from pathlib import Path

from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.data.config import EntityConfig, TableConfig
from recsys.data.ingest import TableReport, ingest
from recsys.data.windows import window_files
from recsys.errors import DataError

__all__ = ["stage"]


def stage(config: Config) -> Stage:
    """The stage."""
    return Stage(
        "ingest",
        partial(_run, config),
        config={"data": config.data},
        modules=("pipelines.ingest",),
        files=tuple(path for name in ("interactions", "users", "items") for path in _files(config, name)),
    )


def _files(config: Config, name: str) -> list[Path]:
    table: TableConfig | None = getattr(config.data, name)
    if table is None or (isinstance(table, EntityConfig) and table.source is not None):
        return []
    try:
        return [path for path, _ in window_files(table, name)]
    except DataError:
        # Running the stage says what is missing; asking for its status must not fail.
        return [Path(table.path)]


def _run(config: Config, context: StageContext) -> Metrics:
    report = ingest(config.data, context.folder)
    (context.folder / "report.json").write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    metrics: dict[str, float] = {}
    for name, table in report.tables.items():
        for note, paths in _notes(table).items():
            others = f" and {len(paths) - 1:,} other files" if len(paths) > 1 else ""
            context.say(f"{name}: {paths[0]}{others}: {note}")
        if table.rejected or table.duplicates:
            context.say(
                f"{name}: kept {table.kept:,} of {table.read:,} rows; {table.rejected:,} rejected "
                f"(see {config.workspace}/artifacts/ingest/*/rejected.parquet), {table.duplicates:,} duplicates dropped"
            )
        if table.not_sampled:
            context.say(
                f"{name}: {table.not_sampled:,} rows are {'' if config.data.rows_only else 'of users '}outside the "
                f"sample of {config.data.sample:.3%}"
            )
        metrics |= {f"{name}/{what}": getattr(table, what) for what in ("read", "kept", "rejected", "duplicates")}
    return metrics


def _notes(table: TableReport) -> dict[str, list[str]]:
    """What was recognised about files, and about which."""
    notes: dict[str, list[str]] = {}
    for source in table.sources:
        for note in source.notes:
            notes.setdefault(note, []).append(source.path)
    return notes
