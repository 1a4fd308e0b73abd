"""Settings of linear models and factorisation machines."""

from typing import Literal

from pydantic import PositiveInt

from recsys.ranking.settings.base import EmbeddingSettings, RankerSettings

__all__ = ["FFMConfig", "FMConfig", "FwFMConfig", "LRConfig"]


class LRConfig(RankerSettings):
    """Logistic regression: a weight for every category and number."""

    kind: Literal["lr"]


class FMConfig(EmbeddingSettings):
    """A factorisation machine: every pair of inputs by the product of their vectors (Rendle 2010)."""

    kind: Literal["fm"]


class FFMConfig(EmbeddingSettings):
    """A field-aware factorisation machine: an input has a vector for each input it meets (Juan 2016)."""

    kind: Literal["ffm"]
    embedding_dim: PositiveInt = 4
    """Length of each vector; a category has one for every input."""


class FwFMConfig(EmbeddingSettings):
    """A field-weighted factorisation machine: FM with a learned weight for each pair of inputs (Pan 2018)."""

    kind: Literal["fwfm"]
