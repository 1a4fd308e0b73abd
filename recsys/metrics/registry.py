"""Every ranking metric by its name in reports."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recsys.metrics.ranking import hit_rate_at_k, map_at_k, mrr_at_k, ndcg_at_k, recall_at_k

__all__ = ["RANKING_METRICS"]

RankingMetric = Callable[[NDArray[np.bool_], NDArray[np.integer], int], NDArray[np.float64]]
RANKING_METRICS: dict[str, RankingMetric] = {
    "recall": recall_at_k,
    "ndcg": ndcg_at_k,
    "hit_rate": hit_rate_at_k,
    "mrr": mrr_at_k,
    "map": map_at_k,
}
