"""Settings of the word2vec trainer; free of torch and numba."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from recsys.settings import Settings

__all__ = ["Word2VecSettings"]


class Word2VecSettings(Settings):
    """How vectors are trained from sequences of tokens (Mikolov 2013)."""

    embedding_dim: PositiveInt = 64
    """Length of the vectors."""
    window: PositiveInt = 5
    """Tokens on each side that count as context."""
    dynamic_window: bool = True
    """Whether each centre draws its window from 1 to `window`, so that near contexts count more."""
    architecture: Literal["skip_gram", "cbow"] = "skip_gram"
    """`skip_gram`: every context vector predicts the centre; `cbow`: their mean does, which is faster."""
    loss: Literal["negative_sampling", "hierarchical_softmax"] = "negative_sampling"
    """`negative_sampling`: the centre against `num_negatives` drawn tokens; `hierarchical_softmax`: the turns of its
    path in a Huffman tree."""
    num_negatives: Annotated[int, Field(ge=1, le=1000)] = 5
    """Tokens drawn against each centre, shared by its contexts; for `negative_sampling` only."""
    negative_power: float = 0.75
    """Negatives are drawn by count^power: 0 is uniform, below 0 prefers the rare (Caselles-Dupré 2018)."""
    subsample: NonNegativeFloat = 0.0
    """Tokens more frequent than this share of all are dropped at random, often where they are often; 0 keeps all."""
    min_count: PositiveInt = 1
    """Tokens seen less often get no vector and are no context."""
    epochs: PositiveInt = 5
    """Passes over the corpus."""
    learning_rate: PositiveFloat = 0.025
    """At the beginning; falls linearly."""
    min_learning_rate: NonNegativeFloat = 0.0001
    """At the end."""
    threads: PositiveInt = 1
    """CPU threads. More than one write without locks: faster, and vectors then differ from run to run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`cuda` trains in large batches through torch; `auto` takes it where there is one."""
