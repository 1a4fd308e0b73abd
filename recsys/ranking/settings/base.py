"""What the settings of several rankers share."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from recsys.settings import Settings

__all__ = [
    "DRAWN_STD",
    "Activation",
    "Dropout",
    "EmbeddingSettings",
    "Initialiser",
    "NetworkSettings",
    "Norm",
    "RankerSettings",
]

Activation = Literal["relu", "prelu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "dice"]
Norm = Literal["none", "batch", "layer"]
Initialiser = Literal[
    "torch", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "normal"
]
DRAWN_STD = 0.01
"""Of the numbers that embeddings are drawn with."""
Dropout = Annotated[float, Field(ge=0, lt=1)]


class RankerSettings(Settings):
    """Settings of every ranker: what it reads."""

    fields: tuple[str, ...] | None = None
    """Model inputs by full name (`user.age`, `item.genres`, `route.itemcf.score`); `null`: all of them."""
    exclude: tuple[str, ...] = ()
    """Model inputs left out, by full name."""


class EmbeddingSettings(RankerSettings):
    """Settings of rankers that give inputs vectors."""

    embedding_dim: PositiveInt = 16
    """Length of the vector of each category."""
    embedding_dropout: Dropout = 0.2
    """On embeddings."""
    embedding_std: PositiveFloat = DRAWN_STD
    """Standard deviation of embeddings at the beginning."""


class NetworkSettings(EmbeddingSettings):
    """Settings of rankers with a deep network."""

    hidden: tuple[PositiveInt, ...] = Field((128, 64), min_length=1)
    """Widths of the layers of the network."""
    activation: Activation = "relu"
    """Between the layers."""
    norm: Norm = "none"
    """Normalisation before each activation: over the batch, over the layer, or none."""
    dropout: Dropout = 0.2
    """On hidden layers."""
    initialiser: Initialiser = "torch"
    """How the matrices of the network are drawn (Glorot and Bengio 2010; He 2015; Saxe 2014); `torch`: evenly within
    1/√width. What a ranker starts at zero, such as an output layer beside an FM, stays at zero."""
    initial_std: PositiveFloat = 0.05
    """Of `initialiser: normal`."""
