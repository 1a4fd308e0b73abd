"""`recall.<route>` and `refit.<route>`: one route, fitted on the recall window, or on all before the test window."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.inputs import Features, Log
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.data.config import ColumnConfig, ColumnKind
from recsys.data.split import RANK, RECALL, VALID
from recsys.data.tables import Dataset
from recsys.features.batch import InputSpec
from recsys.features.catalogue import align
from recsys.recall.base import FitContext, ItemColumn, TrainingData
from recsys.recall.configs import RouteConfig
from recsys.recall.registry import ROUTES, fit_route
from recsys.retrieval.registry import save_retriever

if TYPE_CHECKING:
    from torch import nn

__all__ = ["WINDOWS", "Phase", "served", "stage"]

Phase = Literal["recall", "refit"]
WINDOWS: dict[Phase, tuple[int, ...]] = {"recall": (RECALL,), "refit": (RECALL, RANK, VALID)}
"""Whose events a route is fitted on."""


def stage(config: Config, name: str, phase: Phase) -> Stage:
    """The stage of a route."""
    route = config.routes[name]
    data: dict[str, object] = {"order": config.data.order}
    if route.reads_items:
        # How a column is read, the table alone does not tell: text and categories look the same.
        data["items"] = {"columns": _kinds(config)}
    return Stage(
        f"{phase}.{name}",
        partial(_run, config, route, phase),
        config={"routes": {name: route}, "data": data},
        inputs=("split", "features", *(("ingest",) if route.reads_items else ())),
        modules=("pipelines.recall", "recsys.release.export", ROUTES[route.kind]),
        files=route.files(),
        seed=config.seed,
    )


def served(config: Config) -> Phase:
    """Which fit of the routes is served: the last one."""
    return "recall" if config.refit == "none" else "refit"


def _run(config: Config, route: RouteConfig, phase: Phase, context: StageContext) -> Metrics:
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


def _kinds(config: Config) -> dict[str, ColumnKind]:
    """What the columns of the items table hold."""
    columns = config.data.items.columns if config.data.items else {}
    return {name: column.kind if isinstance(column, ColumnConfig) else column for name, column in columns.items()}


def _item_columns(config: Config, log: Log, ingested: Path) -> tuple[ItemColumn, ...]:
    """The columns of the items table, by item code."""
    table = align(log.items, Dataset.load(ingested).items, "item_id")
    return tuple(ItemColumn(name, kind, table[name].combine_chunks()) for name, kind in _kinds(config).items())


def _export(module: "nn.Module", spec: InputSpec, path: Path) -> None:
    from recsys.release.export import export_onnx  # torch only for the routes that are trained with it

    export_onnx(module, spec.fields, spec.history_length, path, output="vector")
