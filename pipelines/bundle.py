"""`bundle`: everything that serves, in one folder with golden requests and their answers."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.candidates import load_fusion, load_routes
from pipelines.inputs import Features, Log
from pipelines.phases import WINDOWS, served
from pipelines.ranking import CALIBRATION
from pipelines.stage import Metrics, StageContext
from recsys.bundle.format import Policy
from recsys.config import Config
from recsys.data.split_config import protocol
from recsys.data.tables import Dataset
from recsys.features.batch import Field, InputSpec
from recsys.features.catalogue import align
from recsys.funnel.candidates import CandidateGenerator
from recsys.funnel.parts import FunnelParts, Ranker
from recsys.ranking.configs import RankingConfig
from recsys.release.build import BundleInfo, build_bundle
from recsys.scoring.calibration import Calibration
from recsys.scoring.registry import load_scorer
from recsys.scoring.tasks import Tasks
from recsys.settings import content_hash

__all__ = ["BUNDLE", "run"]

BUNDLE = Path("bundles") / "1"
"""Where the bundle lies in this stage's output."""


def run(config: Config, context: StageContext) -> Metrics:
    """The stage's work; see `pipelines.stages`."""
    dataset = Dataset.load(context.inputs["ingest"])
    log, features = Log.load(context.inputs["split"]), Features.load(context.inputs["features"])
    fitted = log.fitted_on(WINDOWS[served(config)])
    routes = load_routes(config, context, served(config), features)
    policy = Policy.model_validate(config.policy.model_dump())
    parts = FunnelParts(
        generator=CandidateGenerator(routes, load_fusion(context.inputs["candidates"]), policy),
        ranker=None if config.ranking is None else _ranker(config.ranking, context.inputs["ranking"]),
        encoder=features.encoder,
        users=log.users,
        items=log.items,
        titles=_titles(config, log, dataset),
        user_features=features.user,
        item_features=features.item,
        histories=log.histories(config),
        popularity=np.bincount(fitted.items, minlength=len(log.items)).astype(np.float32),
    )
    info = BundleInfo(
        name=config.name,
        config_hash=content_hash(config.model_dump(mode="json", exclude={"workspace", "tracking"})),
        features_hash=features.encoder.hash,
        data_hash=_data_hash(context.inputs["ingest"]),
        protocol=protocol(config.split),
    )
    bundle = build_bundle(parts, info, context.folder / BUNDLE.parent)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    return {"megabytes": size / 1e6, "items": len(log.items), "users": len(log.users)}


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
