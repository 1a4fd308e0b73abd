"""Settings of linear models and factorisation machines."""

from typing import Literal

from recsys.ranking.settings.base import EmbeddingSettings, RankerSettings

__all__ = ["FMConfig", "LRConfig"]


class LRConfig(RankerSettings):
    """Logistic regression: a weight for every category and number."""

    kind: Literal["lr"]


class FMConfig(EmbeddingSettings):
    """A factorisation machine: every pair of inputs by the product of their vectors (Rendle 2010)."""

    kind: Literal["fm"]
