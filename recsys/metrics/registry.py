"""The ranking metrics there are, by the name reports use."""

from recsys.metrics.ranking import RankingMetric, hit_rate_at_k, map_at_k, mrr_at_k, ndcg_at_k, recall_at_k

__all__ = ["RANKING_METRICS"]

RANKING_METRICS: dict[str, RankingMetric] = {
    "ndcg": ndcg_at_k,
    "recall": recall_at_k,
    "hit_rate": hit_rate_at_k,
    "mrr": mrr_at_k,
    "map": map_at_k,
}
"""In the order in which reports show them."""
