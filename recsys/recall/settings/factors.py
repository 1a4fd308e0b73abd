"""Settings of the routes that factorise the matrix of users and items."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from recsys.recall.settings.base import VectorRouteSettings

__all__ = ["ALSConfig", "BPRConfig"]


class _FactorsConfig(VectorRouteSettings):
    """What both ways of factorising share: an unseen user's factor comes from the history."""

    distance_settings = ("query_decay",)
    pairs_items = True

    embedding_dim: PositiveInt = 64
    """Length of the factors."""
    epochs: PositiveInt = 10
    """Passes over all users and items."""
    threads: PositiveInt = 1
    """CPU threads of the fit. More than one is faster; for `bpr` answers then differ from run to run."""
    query_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Weight of a history item one step further back."""
    history: PositiveInt = 200
    """The most recent items that count."""


class ALSConfig(_FactorsConfig):
    """Matrix factorisation of implicit feedback by alternating least squares (Hu 2008; Rendle 2021)."""

    kind: Literal["als"]
    alpha: PositiveFloat = 10.0
    """Mean of what an event adds to the confidence of 1 that every user does not want every item."""
    regularisation: PositiveFloat = 1.0
    """Of the squared length of factors."""
    user_penalty: NonNegativeFloat = 0.25
    """Exponent on a user's number of items by which the confidence of each is divided."""
    popularity_penalty: NonNegativeFloat = 0.5
    """Exponent on an item's count by which the confidence in its events is divided."""
    popularity_boost: NonNegativeFloat = 0.0
    """Exponent on an item's count by which its scores are multiplied in the end. With a higher `popularity_penalty` a
    tenth finds more on logs with many rare items: popular items teach less, but are still recommended."""


class BPRConfig(_FactorsConfig):
    """Matrix factorisation by pairs of an item the user has and one the user has not (Rendle 2009)."""

    kind: Literal["bpr"]
    epochs: PositiveInt = 100
    """Passes over all events."""
    learning_rate: PositiveFloat = 0.05
    """Of every step."""
    regularisation: PositiveFloat = 0.01
    """Of the squared length of factors."""
    fold_in_alpha: PositiveFloat = 10.0
    """What an event adds to the confidence when a factor is folded in from the history."""
