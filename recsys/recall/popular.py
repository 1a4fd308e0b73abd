"""The most popular items, recent events weighing more."""

import numpy as np
from numpy.typing import NDArray

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.static import PopularConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.static import StaticRetriever

__all__ = ["DAY", "event_weights", "fit"]

DAY = 86_400_000_000
"""Microseconds."""
_LEAST = np.finfo(np.float32).tiny


def fit(config: PopularConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Score of an item: Σ over its events of 0.5^(age / half-life); plain counts without a half-life."""
    counts = np.bincount(
        data.histories.items, weights=event_weights(data, config.half_life_days), minlength=data.n_items
    )
    # What is so old that its weight rounds to nothing is still more than no event at all.
    return StaticRetriever(np.where(data.counts > 0, np.maximum(counts, _LEAST), 0.0).astype(np.float32))


def event_weights(data: TrainingData, half_life_days: float | None) -> NDArray[np.float64]:
    """`(E,)` 0.5^(age / half-life) of every event; ones without a half-life."""
    if half_life_days is None:
        return np.ones(len(data.time))
    age = (data.now - data.time) / (DAY * half_life_days)
    return np.exp2(-age)
