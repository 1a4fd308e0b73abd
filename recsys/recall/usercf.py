"""What similar users have (Resnick 1994), in item-to-item form."""

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.pairs import together
from recsys.recall.settings.neighbours import UserCFConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.neighbours import NeighboursRetriever

__all__ = ["fit"]


def fit(config: UserCFConfig, data: TrainingData, context: FitContext) -> Retriever:
    """score(j) = Σ_v sim(u, v) · [v has j], over all other users v.

    With sim(u, v) = Σ over the items i both have of 1 / (count_i^popularity_penalty · items_v^user_penalty), the sum
    over users can be taken first: W[i, j] = Σ_v [v has i and j] / items_v^user_penalty / count_i^popularity_penalty.
    So the user's history at request time is enough, and no list of similar users has to be kept fresh. Unlike ItemCF
    it does not divide by the count of the item recommended. Takes memory for N · neighbours
    weights, and time in the pairs of items of each user.
    """
    kept = together(
        data,
        user_penalty=config.user_penalty,
        row_penalty=config.popularity_penalty,
        column_penalty=0.0,
        count=config.neighbours,
    )
    return NeighboursRetriever(kept, query_decay=config.query_decay, history=config.history)
