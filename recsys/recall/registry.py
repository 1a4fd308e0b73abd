"""Every route by the kind a configuration gives it."""

import importlib
from typing import cast

from recsys.recall.base import FitContext, RouteModule, TrainingData
from recsys.recall.configs import RouteConfig
from recsys.retrieval.base import Retriever

__all__ = ["ROUTES", "fit_route"]

ROUTES: dict[str, str] = {
    "als": "recsys.recall.als",
    "bpr": "recsys.recall.bpr",
    "dssm": "recsys.recall.dssm",
    "ease": "recsys.recall.ease",
    "graph_filter": "recsys.recall.graph_filter",
    "itemcf": "recsys.recall.itemcf",
    "popular": "recsys.recall.popular",
    "swing": "recsys.recall.swing",
    "usercf": "recsys.recall.usercf",
}
"""Modules, imported when they are needed: only some routes need torch."""


def fit_route(config: RouteConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Fits the route of a configuration."""
    module = cast(RouteModule, importlib.import_module(ROUTES[config.kind]))
    return module.fit(config, data, context)
