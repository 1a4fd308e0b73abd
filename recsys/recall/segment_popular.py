"""What is most popular among users who share a feature."""

import numpy as np
from scipy import sparse

from recsys.errors import DataError
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.pairs import largest_of_rows
from recsys.recall.popular import event_weights
from recsys.recall.settings.static import SegmentPopularConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.lookup import LookupRetriever

__all__ = ["fit"]

_UNKNOWN = 2
"""Rows 0 and 1 of every vocabulary stand for nothing and for values not seen."""


def fit(config: SegmentPopularConfig, data: TrainingData, context: FitContext) -> Retriever:
    """A list for every value of the field: weighted events of its users, mixed with those of everybody.

    score(segment, j) = Σ over the segment's events of j + prior · (share of j among all events), an event weighing
    0.5^(age / half-life). Takes memory for (values) · length weights.

    Raises:
        DataError: the field is no single category.
    """
    name = f"user.{config.field}"
    field = next(field for field in data.user_fields if field.name == name)
    if not field.is_index or field.width != 1:
        raise DataError(f"segment_popular: {name} is not one category a user; name a categorical feature")
    segment = np.asarray(data.user_features[name], dtype=np.int64)
    owner = np.repeat(segment, data.histories.counts)
    weights = event_weights(data, config.half_life_days)
    shape = (field.rows, data.n_items)
    counts = sparse.coo_array((weights, (owner, data.histories.items)), shape=shape).toarray()
    everybody = counts.sum(axis=0)
    counts[:_UNKNOWN] = everybody
    counts += config.prior * everybody / max(float(everybody.sum()), 1e-12)
    return LookupRetriever(largest_of_rows(sparse.csr_array(counts), config.length), name)
