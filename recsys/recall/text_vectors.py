"""Items as the mean of the vectors of their words, trained on the items' own texts (Word2Vec, FastText)."""

import numpy as np
from scipy import sparse

from recsys.features.batch import Floats
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.cosine import by_cosine, of_length_one
from recsys.recall.settings.content import TextVectorsConfig
from recsys.recall.text import Documents, is_value, item_documents
from recsys.recall.word2vec.corpus import MemoryCorpus
from recsys.recall.word2vec.subwords import Parts, character_ngrams
from recsys.recall.word2vec.train import train_word2vec
from recsys.retrieval.base import Retriever

__all__ = ["fit", "mean_vectors"]


def fit(config: TextVectorsConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Trains words and values as `recsys.recall.word2vec.train` says, the terms of an item being a sentence.

    Takes memory for 2 · (terms) · D numbers, for as many more as words share n-grams, and for 3 · N · D. Reproducible
    with one thread.

    Raises:
        DataError: see `recsys.recall.text.item_documents`; or no term occurs `training.min_count` times.
    """
    documents = item_documents(data, config.columns, kind="text_vectors")
    trained = train_word2vec(
        MemoryCorpus(documents.tokens, documents.offsets),
        len(documents.terms),
        config.training,
        seed=context.seed,
        log=context.log,
        parts=_parts(config, documents),
    )
    vectors = mean_vectors(documents.counts(), trained.vectors, config.rarity)
    return by_cosine(vectors, config, data, context)


def mean_vectors(counts: sparse.csr_array, vectors: Floats, rarity: float) -> Floats:
    """`(N, D)` Σ over an item's terms t of a / (a + share of t) · vector of t, of length 1 (Arora 2017, algorithm 1).

    Args:
        counts: `(N, V)` how often each item has each term.
        vectors: `(V, D)` of the terms.
        rarity: a.
    """
    share = np.bincount(counts.indices, counts.data, minlength=counts.shape[1]) / max(float(counts.sum()), 1.0)
    weights = (rarity / (rarity + share)).astype(np.float32)
    # In float32 throughout: of many items, their vectors are the most that is held.
    weighted: Floats = counts.astype(np.float32) @ (of_length_one(vectors) * weights[:, None])
    return weighted


def _parts(config: TextVectorsConfig, documents: Documents) -> Parts | None:
    if config.subwords is None:
        return None
    words = [None if is_value(term) else term for term in documents.terms]
    return character_ngrams(words, shortest=config.subwords.shortest, longest=config.subwords.longest)
