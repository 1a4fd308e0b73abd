"""Item-to-item co-occurrence within a user's sequence (Sarwar 2001, made aware of order and distance)."""

import numpy as np
from scipy import sparse

from recsys.features.history import Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.pairs import inverse_power, largest_of_rows, together
from recsys.recall.settings.neighbours import ItemCFConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.neighbours import NeighboursRetriever

__all__ = ["fit"]


def fit(config: ItemCFConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Two items are related by how often and how closely one follows the other.

    W[i, j] = Σ distance_decay^(steps − 1) over every j at most `window` steps after an i of the same user, plus
    `backward` times the same with i and j exchanged, over (count_i · count_j)^popularity_penalty and, within the sum,
    the user's count^user_penalty; the best `neighbours` of each row are kept. Without order every pair of a user's
    items counts once, both ways. Takes memory for N · neighbours weights; with order, for all pairs within the window.
    """
    if data.ordered:
        scale = inverse_power(data.counts, config.popularity_penalty)
        pairs = _in_order(config, data.histories, data.n_items)
        weights = sparse.csr_array(sparse.diags_array(scale) @ pairs @ sparse.diags_array(scale))
        kept = largest_of_rows(weights, config.neighbours)
    else:
        kept = together(
            data,
            user_penalty=config.user_penalty,
            row_penalty=config.popularity_penalty,
            column_penalty=config.popularity_penalty,
            count=config.neighbours,
        )
    return NeighboursRetriever(kept, query_decay=config.query_decay, history=config.history)


def _in_order(config: ItemCFConfig, histories: Histories, n_items: int) -> sparse.csr_array:
    items = histories.items
    user = np.repeat(np.arange(len(histories)), histories.counts)
    share = inverse_power(histories.counts, config.user_penalty)[user]
    following = sparse.csr_array((n_items, n_items), dtype=np.float64)
    for steps in range(1, min(config.window, int(histories.counts.max(initial=1)) - 1) + 1):
        pair = (user[:-steps] == user[steps:]) & (items[:-steps] != items[steps:])
        weight = share[steps:][pair] * config.distance_decay ** (steps - 1)
        where = (items[:-steps][pair], items[steps:][pair])
        # Summed a step at a time, so that memory stays at one step's pairs.
        following = following + sparse.coo_array((weight, where), shape=(n_items, n_items)).tocsr()
    return sparse.csr_array(following + config.backward * following.T)
