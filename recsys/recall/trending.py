"""Items that are asked for more than they used to be."""

import numpy as np

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.popular import DAY
from recsys.recall.settings.static import TrendingConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.static import StaticRetriever

__all__ = ["fit"]


def fit(config: TrendingConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Score of an item: (events now − expected) / √(expected + smoothing), where that is above 0.

    *Now* are the last `days`; expected is the item's share of the `baseline_days` before, applied to all events of now:
    the standardised excess of a Poisson count. Takes memory for N numbers.
    """
    since = data.now - config.days * DAY
    before = since - config.baseline_days * DAY
    now = np.bincount(data.histories.items[data.time > since], minlength=data.n_items)
    earlier = (data.time > before) & (data.time <= since)
    baseline = np.bincount(data.histories.items[earlier], minlength=data.n_items)
    expected = now.sum() * baseline / max(int(baseline.sum()), 1)
    excess = (now - expected) / np.sqrt(expected + config.smoothing)
    return StaticRetriever(np.maximum(excess, 0.0).astype(np.float32))
