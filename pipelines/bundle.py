"""`bundle`: everything that serves, in one folder with golden requests and their answers."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.candidates import load_fusion, load_routes
from pipelines.inputs import Features, Log
from pipelines.ranking import CALIBRATION
from pipelines.recall import WINDOWS, served
from pipelines.stage import Metrics, Stage, StageContext
from recsys.bundle.format import Policy
from recsys.config import Config
from recsys.data.ingest import row_roles
from recsys.data.split import protocol
from recsys.data.tables import Dataset
from recsys.features.batch import Field, Floats, InputSpec
from recsys.features.catalogue import align
from recsys.features.history import Histories
from recsys.features.rows import RowColumn
from recsys.funnel.candidates import CandidateGenerator
from recsys.funnel.parts import FunnelParts, Ranker
from recsys.ranking.configs import RankingConfig
from recsys.release.build import BundleInfo, build_bundle
from recsys.scoring.calibration import Calibration
from recsys.scoring.registry import load_scorer
from recsys.scoring.tasks import Tasks
from recsys.settings import content_hash

__all__ = ["BUNDLE", "stage"]

BUNDLE = Path("bundles") / "1"
"""Where the bundle lies in this stage's output."""
_GOLDEN_ROWS = 8


def stage(config: Config) -> Stage:
    """The stage."""
    routes = tuple(f"{served(config)}.{name}" for name in config.routes)
    ranking = () if config.ranking is None else ("ranking",)
    return Stage(
        "bundle",
        partial(_run, config),
        config=config.model_dump(mode="json", exclude={"workspace", "evaluation", "tracking"}),
        inputs=("ingest", "split", "features", *routes, "candidates", *ranking),
        modules=("pipelines.bundle",),
    )


def _run(config: Config, context: StageContext) -> Metrics:
    dataset = Dataset.load(context.inputs["ingest"])
    log, features = Log.load(context.inputs["split"]), Features.load(context.inputs["features"])
    routes = load_routes(config, context, served(config), features)
    policy = Policy.model_validate(config.policy.model_dump())
    rows_only = config.data.rows_only
    parts = FunnelParts(
        generator=CandidateGenerator(routes, load_fusion(context.inputs["candidates"]), policy),
        ranker=None if config.ranking is None else _ranker(config.ranking, context.inputs["ranking"]),
        encoder=features.encoder,
        users=log.users,
        items=log.items,
        titles=_titles(config, log, dataset),
        user_features=features.user,
        item_features=features.item,
        histories=Histories.none(0) if rows_only else log.histories(config),
        popularity=_popularity(config, log),
        rows=tuple(RowColumn(r.name, r.column, r.kind, r.separator, r.unit) for r in row_roles(config.data)),
        golden_rows=_golden_rows(config, dataset.interactions) if rows_only else None,
    )
    info = BundleInfo(
        name=config.name,
        config_hash=content_hash(config.model_dump(mode="json", exclude={"workspace", "tracking"})),
        features_hash=features.encoder.hash,
        data_hash=_data_hash(context.inputs["ingest"]),
        protocol=protocol(config.split, rows_only=rows_only),
    )
    bundle = build_bundle(parts, info, context.folder / BUNDLE.parent)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    return {"megabytes": size / 1e6, "items": len(log.items), "users": len(log.users)}


def _popularity(config: Config, log: Log) -> Floats:
    if config.data.rows_only:
        return np.zeros(0, dtype=np.float32)
    fitted = log.fitted_on(WINDOWS[served(config)])
    return np.bincount(fitted.items, minlength=len(log.items)).astype(np.float32)


def _golden_rows(config: Config, log: pa.Table) -> pa.Table:
    """Rows spread over the log, and one of which nothing is known."""
    at = np.unique(np.linspace(0, log.num_rows - 1, num=_GOLDEN_ROWS).astype(np.int64))
    some = log.select([role.name for role in row_roles(config.data)]).take(pa.array(at))
    return pa.concat_tables([some, pa.table({f.name: pa.nulls(1, f.type) for f in some.schema})])


def _ranker(ranking: RankingConfig, folder: Path) -> Ranker:
    spec = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    fields = tuple(Field(**field) for field in spec["fields"])
    powers = tuple(task.score for task in ranking.tasks.values())
    tasks = Tasks(tuple(ranking.tasks), powers) if ranking.tasks else None
    told = folder / CALIBRATION
    calibration = Calibration.from_json(json.loads(told.read_text(encoding="utf-8"))) if told.exists() else None
    return Ranker(load_scorer(folder / "scorer"), InputSpec(fields, int(spec["history_length"])), tasks, calibration)


def _titles(config: Config, log: Log, dataset: Dataset) -> pa.Array:
    column = config.data.items.title if config.data.items else None
    table = align(log.items, dataset.items, "item_id")
    if column is None or column not in table.column_names:
        return pa.nulls(len(log.items), pa.large_string())
    return table[column].combine_chunks().cast(pa.large_string())


def _data_hash(ingested: Path) -> str:
    """Of the bytes the tables were read from."""
    report = json.loads((ingested / "report.json").read_text(encoding="utf-8"))
    return content_hash({name: [s["sha256"] for s in table["sources"]] for name, table in report["tables"].items()})
