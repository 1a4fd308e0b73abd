"""Routes that find items by their vectors: served by an index, as their settings say."""

from functools import partial

import numpy as np

from recsys.features.batch import Floats, QueryBatch
from recsys.recall.base import FitContext, TrainingData
from recsys.retrieval.config import AutoIndex, IndexConfig
from recsys.retrieval.encoders import QueryEncoder
from recsys.retrieval.index import VectorIndex
from recsys.retrieval.tuning import tuned
from recsys.retrieval.vector import VectorRetriever

__all__ = ["served"]

_REQUESTS = 256
"""Users whose histories an index is tuned with."""


def served(
    vectors: Floats, encoder: QueryEncoder, config: IndexConfig, data: TrainingData, context: FitContext
) -> VectorRetriever:
    """The vectors in an index; one that is chosen is measured with requests of the training window.

    Args:
        vectors: `(N, D)` by item code; zeros for an item the route does not know, see `recsys.retrieval.base`.
        encoder: of requests.
        config: of the index.
        data: what the route was fitted on.
        context: seed, and where what is measured goes.
    """
    if not isinstance(config, AutoIndex):
        return VectorRetriever(VectorIndex(vectors, config, seed=context.seed), encoder)
    rng = np.random.default_rng(context.seed)
    known = np.flatnonzero(data.histories.counts)
    users = np.sort(rng.choice(known, min(_REQUESTS, len(known)), replace=False))
    history, lengths = data.histories.batch(users)
    asked = QueryBatch(history, lengths, {name: values[users] for name, values in data.user_features.items()})
    log = partial(_log, context)
    index = tuned(vectors, encoder.encode(asked), config, log=log, say=context.say, seed=context.seed)
    return VectorRetriever(index, encoder)


def _log(context: FitContext, name: str, value: float, step: int) -> None:
    context.log(f"index/{name}", value, step)
