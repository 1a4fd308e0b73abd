"""Items by the cosine of their vector with the mean of the history's."""

import numpy as np

from recsys.features.batch import Floats
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.content import SentenceConfig, TextVectorsConfig
from recsys.recall.vectors import served
from recsys.retrieval.encoders import PooledEncoder
from recsys.retrieval.vector import VectorRetriever

__all__ = ["by_cosine", "centred", "of_length_one"]


_NOTHING = 1e-3
"""Of its length: what is left of a vector after the mean is taken from it, if the item says nothing of its own."""


def by_cosine(
    vectors: Floats, config: TextVectorsConfig | SentenceConfig, data: TrainingData, context: FitContext
) -> VectorRetriever:
    """Serves vectors `(N, D)` of any length, centred; zeros stand for an item without one, which nothing is like."""
    unit = of_length_one(centred(of_length_one(vectors)))
    encoder = PooledEncoder(unit, decay=config.query_decay, history=config.history)
    return served(unit, encoder, config.index, data, context)


def centred(vectors: Floats) -> Floats:
    """Vectors of length 1 or 0 without their mean, so that the cosine does not go by what all items say.

    The mean stands in for the first principal direction that Arora 2017 (algorithm 1) takes away: vectors of text all
    lie in a narrow cone around it. Zeros are no part of it and stay; so become those that are equal to it, which would
    be nothing but rounding.
    """
    real = vectors.any(axis=1)
    mean = vectors.sum(axis=0, dtype=np.float64) / max(int(real.sum()), 1)
    rest: Floats = vectors - mean.astype(np.float32)
    rest[~real | (_lengths(rest) < _NOTHING)] = 0
    return rest


def of_length_one(vectors: Floats) -> Floats:
    """Vectors of length 1, float32; zeros stay zeros."""
    scaled: Floats = np.divide(vectors, np.maximum(_lengths(vectors), np.finfo(np.float32).tiny)[:, None])
    return scaled


def _lengths(vectors: Floats) -> Floats:
    """`(N,)`; `np.linalg.norm` would make a copy of all vectors on the way."""
    squares: Floats = np.einsum("nd,nd->n", vectors, vectors)
    return np.sqrt(squares)
