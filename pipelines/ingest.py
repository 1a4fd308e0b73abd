"""`ingest`: the user's files become canonical tables."""

import json

from pipelines.stage import Metrics, StageContext
from recsys.config import Config
from recsys.data.ingest import ingest

__all__ = ["run"]


def run(config: Config, context: StageContext) -> Metrics:
    """The stage's work; see `pipelines.stages`."""
    report = ingest(config.data, context.folder)
    (context.folder / "report.json").write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    metrics: dict[str, float] = {}
    for name, table in report.tables.items():
        if table.rejected or table.duplicates:
            context.say(
                f"{name}: kept {table.kept:,} of {table.read:,} rows; {table.rejected:,} rejected "
                f"(see {config.workspace}/artifacts/ingest/*/rejected.parquet), {table.duplicates:,} duplicates dropped"
            )
        if table.not_sampled:
            context.say(
                f"{name}: {table.not_sampled:,} rows are of users outside the sample of {config.data.sample:.3%}"
            )
        metrics |= {f"{name}/{what}": getattr(table, what) for what in ("read", "kept", "rejected", "duplicates")}
    return metrics
