"""Item vectors trained like those of words, histories being the sentences (Barkan & Koenigstein 2016)."""

from collections.abc import Iterator

import numpy as np

from recsys.features.batch import Floats
from recsys.features.history import Histories
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.sequences import Item2VecConfig, VectorsConfig
from recsys.recall.vectors import served
from recsys.recall.word2vec.corpus import Chunk, Corpus, MemoryCorpus
from recsys.recall.word2vec.train import train_word2vec
from recsys.retrieval.base import Retriever
from recsys.retrieval.encoders import PooledEncoder

__all__ = ["ShuffledCorpus", "fit", "fit_vectors"]


def fit(config: Item2VecConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Trains on histories; see `recsys.recall.word2vec.train` for the algorithms and their memory.

    Reproducible with one thread; with more they write without locks, and answers differ from run to run.

    Raises:
        DataError: no item occurs `min_count` times.
    """
    histories = data.histories
    ordered = MemoryCorpus(histories.items, histories.offsets)
    corpus = ordered if data.ordered else ShuffledCorpus(histories, np.random.default_rng(context.seed))
    return fit_vectors(config, corpus, data, context)


def fit_vectors(config: VectorsConfig, corpus: Corpus, data: TrainingData, context: FitContext) -> Retriever:
    """Item vectors of sequences of item codes, served by the mean of the history's.

    An item that never stands beside another in a sequence, or occurs less than `min_count` times, is not known.
    """
    trained = train_word2vec(corpus, data.n_items, config.training, seed=context.seed, log=context.log)
    by_cosine = config.candidates == "input"
    known = trained.moved[:, None]
    vectors = np.where(known, _of_length_one(trained.vectors) if by_cosine else trained.vectors, np.float32(0))
    # Outputs of unknown items have been drawn as negatives, and nothing else.
    candidates = vectors if by_cosine else np.where(known, trained.output_vectors, np.float32(0))
    encoder = PooledEncoder(
        vectors,
        decay=config.query_decay,
        history=config.history,
        normalise=by_cosine,
    )
    return served(candidates, encoder, config.index, data, context)


class ShuffledCorpus:
    """Histories whose events have no order: each pass gives every history in another one.

    Args:
        histories: events by user.
        rng: draws the orders.
    """

    def __init__(self, histories: Histories, rng: np.random.Generator) -> None:
        self._histories = histories
        self._rng = rng

    def chunks(self) -> Iterator[Chunk]:
        """All histories as one chunk."""
        owner = np.repeat(np.arange(len(self._histories)), self._histories.counts)
        order = np.lexsort((self._rng.random(len(owner)), owner))
        yield Chunk(self._histories.items[order].astype(np.int32), self._histories.offsets)


def _of_length_one(vectors: Floats) -> Floats:
    """Vectors of length 1; those of unknown items stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return scaled
