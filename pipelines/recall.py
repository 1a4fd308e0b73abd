"""`recall.<route>` and `refit.<route>`: one route, fitted on the recall window, or on all before the test window."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.inputs import Features, Log
from pipelines.phases import WINDOWS, Phase, item_kinds
from pipelines.stage import Metrics, StageContext
from recsys.config import Config
from recsys.data.tables import Dataset
from recsys.features.batch import InputSpec
from recsys.features.catalogue import align
from recsys.recall.base import FitContext, ItemColumn, TrainingData
from recsys.recall.configs import RouteConfig
from recsys.recall.registry import fit_route
from recsys.retrieval.registry import save_retriever

if TYPE_CHECKING:
    from torch import nn

__all__ = ["run"]


def run(config: Config, route: RouteConfig, phase: Phase, context: StageContext) -> Metrics:
    """The stage's work; see `pipelines.stages`."""
    log, features = Log.load(context.inputs["split"]), Features.load(context.inputs["features"])
    histories = log.fitted_on(WINDOWS[phase])
    time = log.events.time[histories.positions]
    data = TrainingData(
        histories=histories,
        time=time,
        user_features=features.user,
        item_features=features.item,
        user_fields=features.encoder.fields("user"),
        item_fields=features.encoder.fields("item"),
        n_items=len(log.items),
        ordered=config.data.order != "none",
        now=int(time.max(initial=0)),
        item_columns=_item_columns(config, log, context.inputs["ingest"]) if route.reads_items else (),
    )
    means = FitContext(context.seed, context.scratch, context.log, context.say, _export, context.unfinished)
    retriever = fit_route(route, data, means)
    folder = context.folder / "retriever"
    folder.mkdir()
    save_retriever(retriever, folder)
    return {"events": len(histories.items)}


def _item_columns(config: Config, log: Log, ingested: Path) -> tuple[ItemColumn, ...]:
    """The columns of the items table, by item code."""
    table = align(log.items, Dataset.load(ingested).items, "item_id")
    return tuple(ItemColumn(name, kind, table[name].combine_chunks()) for name, kind in item_kinds(config).items())


def _export(module: "nn.Module", spec: InputSpec, path: Path) -> None:
    from recsys.release.export import export_onnx  # torch only for the routes that are trained with it

    export_onnx(module, spec.fields, spec.history_length, path, output="vector")
