"""Items whose words and values are like those of the history, by cosine (Salton & Buckley 1988)."""

import numpy as np

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.matching import common_terms, document_frequency, matched
from recsys.recall.settings.content import TFIDFConfig
from recsys.recall.text import item_documents
from recsys.retrieval.base import Retriever

__all__ = ["fit"]


def fit(config: TFIDFConfig, data: TrainingData, context: FitContext) -> Retriever:
    """W[i, j] = the cosine of the items' weighted terms, whether they have events or not.

    A term that stands n times in an item weighs (1 + log n, or n) · (1 + log((1 + N) / (1 + df))), where N counts the
    items that have terms. Takes memory for the terms and what `matched` says.

    Raises:
        DataError: see `recsys.recall.text.item_documents`.
    """
    weights = common_terms(item_documents(data, config.columns, kind="tfidf").counts(), config.max_items)
    frequency = document_frequency(weights)
    terms = np.diff(weights.indptr)
    idf = 1 + np.log((1 + np.count_nonzero(terms)) / (1 + frequency))
    weights.data = (1 + np.log(weights.data) if config.log_counts else weights.data) * idf[weights.indices]
    rows = np.repeat(np.arange(len(terms)), terms)
    lengths = np.sqrt(np.bincount(rows, weights.data**2, minlength=len(terms)))
    weights.data /= lengths[rows]
    return matched(weights, weights, config)
