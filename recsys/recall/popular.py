"""The most popular items, recent events weighing more."""

import numpy as np

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.static import PopularConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.static import StaticRetriever

__all__ = ["fit"]

_DAY = 86_400_000_000
"""Microseconds."""
_LEAST = np.finfo(np.float32).tiny


def fit(config: PopularConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Score of an item: Σ over its events of 0.5^(age / half-life); plain counts without a half-life."""
    if config.half_life_days is None:
        return StaticRetriever(data.counts.astype(np.float32))
    age = (data.now - data.time) / (_DAY * config.half_life_days)
    scores = np.bincount(data.histories.items, weights=np.exp2(-age), minlength=data.n_items)
    # What is so old that its weight rounds to nothing is still more than no event at all.
    return StaticRetriever(np.where(data.counts > 0, np.maximum(scores, _LEAST), 0.0).astype(np.float32))
