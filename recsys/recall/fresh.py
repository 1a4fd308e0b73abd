"""New items, the newest first."""

import numpy as np

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.popular import DAY
from recsys.recall.settings.static import FreshConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.static import StaticRetriever

__all__ = ["fit"]


def fit(config: FreshConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Score of an item: 1 / (1 + days since its first event), for items not older than `max_age_days`.

    Takes memory for N numbers. An item no event names has no age here; content routes find it.
    """
    first = np.full(data.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, data.histories.items, data.time)
    days = (data.now - first) / DAY
    new = (data.counts >= config.min_events) & (days <= config.max_age_days)
    return StaticRetriever(np.where(new, 1.0 / (1.0 + np.maximum(days, 0.0)), 0.0).astype(np.float32))
