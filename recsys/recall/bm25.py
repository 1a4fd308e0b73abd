"""Items whose words and values match those of the history best (Robertson & Zaragoza 2009)."""

import numpy as np
from scipy import sparse

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.matching import common_terms, document_frequency, matched
from recsys.recall.settings.content import BM25Config
from recsys.recall.text import item_documents
from recsys.retrieval.base import Retriever

__all__ = ["fit"]


def fit(config: BM25Config, data: TrainingData, context: FitContext) -> Retriever:
    """An item of the history asks with its terms, each once; all items are documents, whether they have events or not.

    W[i, j] = Σ over the terms t of i: idf(t) · n·(k1 + 1) / (n + k1·(1 − b + b·|j| / mean length)), n = times t stands
    in j (section 3.4), with idf(t) = log(1 + (N − df + ½) / (df + ½)), which unlike the paper's is never below 0. N
    counts the items that have terms. Takes memory for the terms and what `matched` says.

    Raises:
        DataError: see `recsys.recall.text.item_documents`.
    """
    counts = common_terms(item_documents(data, config.columns, kind="bm25").counts(), config.max_items)
    frequency = document_frequency(counts)
    lengths = np.asarray(counts.sum(axis=1))
    documents = np.count_nonzero(lengths)
    idf = np.log1p((documents - frequency + 0.5) / (frequency + 0.5))
    held = config.k1 * (1 - config.b + config.b * lengths * documents / max(float(lengths.sum()), 1.0))
    weights = counts.copy()
    weights.data = counts.data * (config.k1 + 1) / (counts.data + np.repeat(held, np.diff(counts.indptr)))
    asking = counts.copy()
    asking.data = idf[counts.indices]
    return matched(sparse.csr_array(asking), weights, config)
