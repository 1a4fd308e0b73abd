"""What similar users have (Resnick 1994), in item-to-item form."""

from scipy import sparse

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.pairs import inverse_power, largest_of_rows, together
from recsys.recall.settings.neighbours import UserCFConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.neighbours import NeighboursRetriever

__all__ = ["fit"]


def fit(config: UserCFConfig, data: TrainingData, context: FitContext) -> Retriever:
    """score(j) = Σ_v sim(u, v) · [v has j], over all other users v.

    With sim(u, v) = Σ over the items i both have of 1 / (count_i^popularity_penalty · items_v^user_penalty), the sum
    over users can be taken first: W[i, j] = Σ_v [v has i and j] / items_v^user_penalty / count_i^popularity_penalty.
    So the user's history at request time is enough, and no list of similar users has to be kept fresh. Unlike ItemCF
    it does not divide by the count of the item recommended. Takes memory in proportion to the pairs of items that some
    user has both of.
    """
    scale = sparse.diags_array(inverse_power(data.counts, config.popularity_penalty))
    weights = sparse.csr_array(scale @ together(data, config.user_penalty))
    kept = largest_of_rows(weights, config.neighbours)
    return NeighboursRetriever(kept, query_decay=config.query_decay, history=config.history)
