"""Settings of rankers that read the history."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from recsys.ranking.settings.base import Activation, Dropout, NetworkSettings

__all__ = ["BSTConfig", "DIENConfig", "DINConfig", "DSINConfig", "SequenceSettings"]


class SequenceSettings(NetworkSettings):
    """Settings of every ranker that reads the history."""

    history_length: Annotated[int, Field(ge=1, le=1000)] = 50
    """The most recent items that are looked at, of histories of any length; at most 1000."""


class _ComparingSettings(SequenceSettings):
    embedding_std: PositiveFloat = 0.1
    """Standard deviation of embeddings at the beginning. Attention looks at products of them: of smaller ones it sees
    next to nothing, and learns late."""


class DINConfig(_ComparingSettings):
    """Target attention over the history (Zhou 2018)."""

    kind: Literal["din"]
    attention_hidden: tuple[PositiveInt, ...] = Field((32,), min_length=1)
    """Widths of the layers that weigh a past item against the candidate."""
    activation: Activation = "dice"
    """Between the layers."""
    batch_l2: NonNegativeFloat = 0.0
    """Mini-batch aware regularisation: L2 on the vectors of a batch's categories, less on those that are met often."""


class DIENConfig(_ComparingSettings):
    """Interests and how they evolve towards the candidate (Zhou 2019)."""

    kind: Literal["dien"]
    activation: Activation = "dice"
    """Between the layers."""
    history_length: Annotated[int, Field(ge=1, le=100)] = 20
    """The most recent items that are looked at, one after another beside each candidate; at most 100, since the graph
    holds the steps of each."""
    auxiliary: NonNegativeFloat = 1.0
    """Weight of the loss by which each interest has to tell the next item from another."""


class _TransformerSettings(SequenceSettings):
    heads: PositiveInt = 2
    """Of each attention; divides `embedding_dim` times the number of compared fields."""
    feed_forward: PositiveInt = 4
    """Width within a block, as a multiple of an item's vector."""
    attention_dropout: Dropout = 0.0
    """Within blocks."""


class DSINConfig(_TransformerSettings):
    """The history as sessions, each attending to itself (Feng 2019)."""

    kind: Literal["dsin"]
    session_length: PositiveInt = 10
    """Items of a session, counted from the newest."""


class BSTConfig(_TransformerSettings):
    """A transformer over the history and the candidate (Chen 2019)."""

    kind: Literal["bst"]
    history_length: Annotated[int, Field(ge=1, le=200)] = 20
    """The most recent items that are looked at, again beside each candidate; at most 200, since each attends to all."""
    blocks: PositiveInt = 1
    """Attention and feed-forward layers on top of one another."""
