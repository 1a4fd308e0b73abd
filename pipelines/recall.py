"""`recall.<route>` and `refit.<route>`: one route, fitted on the recall window, or on all before the test window."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.inputs import Features, Log
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.data.split import RANK, RECALL, VALID
from recsys.features.batch import InputSpec
from recsys.recall.base import FitContext, TrainingData
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
    return Stage(
        f"{phase}.{name}",
        partial(_run, config, route, phase),
        config={"routes": {name: route}, "data": {"order": config.data.order}},
        inputs=("split", "features"),
        modules=("pipelines.recall", "recsys.release.export", ROUTES[route.kind]),
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
    )
    retriever = fit_route(route, data, FitContext(context.seed, context.scratch, context.log, context.say, _export))
    folder = context.folder / "retriever"
    folder.mkdir()
    save_retriever(retriever, folder)
    return {"events": len(histories.items)}


def _export(module: "nn.Module", spec: InputSpec, path: Path) -> None:
    from recsys.release.export import export_onnx  # torch only for the routes that are trained with it

    export_onnx(module, spec.fields, spec.history_length, path, output="vector")
