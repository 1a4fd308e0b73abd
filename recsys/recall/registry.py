"""Every route by the kind a configuration gives it."""

import importlib
from typing import TYPE_CHECKING, cast

from recsys.recall.configs import RouteConfig

if TYPE_CHECKING:
    from recsys.recall.base import FitContext, RouteModule, TrainingData
    from recsys.retrieval.base import Retriever

__all__ = ["ROUTES", "fit_route"]

_TOWERS = "recsys.recall.two_tower.route"

ROUTES: dict[str, str] = {
    "als": "recsys.recall.als",
    "bm25": "recsys.recall.bm25",
    "bpr": "recsys.recall.bpr",
    "deepwalk": "recsys.recall.walks",
    "dssm": _TOWERS,
    "ease": "recsys.recall.ease",
    "fm": "recsys.recall.two_tower.fm",
    "fresh": "recsys.recall.fresh",
    "graph_filter": "recsys.recall.graph_filter",
    "gru4rec": _TOWERS,
    "item2vec": "recsys.recall.item2vec",
    "itemcf": "recsys.recall.itemcf",
    "node2vec": "recsys.recall.walks",
    "popular": "recsys.recall.popular",
    "sasrec": _TOWERS,
    "segment_popular": "recsys.recall.segment_popular",
    "sentence": "recsys.recall.sentence",
    "simplex": _TOWERS,
    "swing": "recsys.recall.swing",
    "tfidf": "recsys.recall.tfidf",
    "text_vectors": "recsys.recall.text_vectors",
    "trending": "recsys.recall.trending",
    "usercf": "recsys.recall.usercf",
    "youtube_dnn": _TOWERS,
}
"""Modules, imported when they are needed: only some routes need torch."""


def fit_route(config: RouteConfig, data: "TrainingData", context: "FitContext") -> "Retriever":
    """Fits the route of a configuration."""
    module = cast("RouteModule", importlib.import_module(ROUTES[config.kind]))
    return module.fit(config, data, context)
