"""Settings of every ranker; torch-free."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from recsys.settings import Settings
from recsys.training.config import TrainingConfig

__all__ = ["DINConfig", "DeepFMConfig", "RankerConfig", "RankingConfig", "SamplesConfig"]

Dropout = Annotated[float, Field(ge=0, lt=1)]


class _NeuralRanker(Settings):
    embedding_dim: PositiveInt = 16
    """Length of the vector of each category."""
    hidden: tuple[PositiveInt, ...] = (
        128,
        64,
    )
    """Widths of the layers of the network."""
    dropout: Dropout = 0.2
    """On hidden layers."""
    embedding_dropout: Dropout = 0.2
    """On embeddings."""
    fields: tuple[str, ...] | None = None
    """Model inputs by full name (`user.age`, `item.genres`, `route.itemcf.score`); `null`: all of them."""
    exclude: tuple[str, ...] = ()
    """Model inputs left out, by full name."""


class DeepFMConfig(_NeuralRanker):
    """FM and a deep network on shared embeddings (Guo 2017)."""

    kind: Literal["deepfm"]
    batch_norm: bool = False
    """Batch normalisation between the layers."""


class DINConfig(_NeuralRanker):
    """Target attention over the history (Zhou 2018)."""

    kind: Literal["din"]
    attention_hidden: tuple[PositiveInt, ...] = (32,)
    """Widths of the layers that weigh a past item against the candidate."""
    activation: Literal["dice", "prelu", "relu"] = "dice"
    """Between the layers."""
    history_length: PositiveInt = 50
    """The most recent items that are looked at."""


RankerConfig = Annotated[DeepFMConfig | DINConfig, Field(discriminator="kind")]


class SamplesConfig(Settings):
    """What the ranker learns from.

    `candidates`: one group a request of the rank window: its positives, negatives among the fused candidates, and
    uniformly drawn items. `events`: the labelled rows of the training windows, as they are (groups by `request_id`
    if given).
    """

    kind: Literal["candidates", "events"] = "candidates"
    """Where positives and negatives come from."""
    candidate_negatives: NonNegativeInt = 50
    """Negatives a request, drawn from the fused candidates."""
    uniform_negatives: NonNegativeInt = 0
    """Negatives a request, drawn evenly from the catalogue."""
    per: Literal["window", "event"] = "window"
    """A request for each user and window (positives: all its events), or for each event with its own history."""


class RankingConfig(Settings):
    """The ranker, its samples and its training."""

    model: RankerConfig
    """The network."""
    samples: SamplesConfig = SamplesConfig()
    """What it learns from."""
    training: TrainingConfig = TrainingConfig()
    """How it learns."""
    loss: Literal["bce"] = "bce"
    """Binary cross-entropy of every candidate."""
