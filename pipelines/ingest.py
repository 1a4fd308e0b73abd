"""`ingest`: the user's files become canonical tables."""

import json

from pipelines.stage import Metrics, StageContext
from recsys.config import Config
from recsys.data.ingest import TableReport, ingest

__all__ = ["run"]


def run(config: Config, context: StageContext) -> Metrics:
    """The stage's work; see `pipelines.stages`."""
    report = ingest(config.data, context.folder)
    (context.folder / "report.json").write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    for warning in report.warnings:
        context.say(warning)
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
