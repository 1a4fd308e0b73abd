"""Settings of every ranker; torch-free."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from recsys.settings import Settings
from recsys.training.config import TrainingConfig

__all__ = ["DINConfig", "DeepFMConfig", "RankerConfig", "RankingConfig", "SamplesConfig"]

Dropout = Annotated[float, Field(ge=0, lt=1)]


class _NeuralRanker(Settings):
    embedding_dim: PositiveInt = 16
    hidden: tuple[PositiveInt, ...] = (
        128,
        64,
    )
    dropout: Dropout = 0.2
    embedding_dropout: Dropout = 0.2
    fields: tuple[str, ...] | None = None
    """Model inputs by full name (`user.age`, `item.genres`, `route.itemcf.score`); `null`: all of them."""
    exclude: tuple[str, ...] = ()
    """Model inputs left out, by full name."""


class DeepFMConfig(_NeuralRanker):
    """FM and a deep network on shared embeddings (Guo 2017)."""

    kind: Literal["deepfm"]
    batch_norm: bool = False


class DINConfig(_NeuralRanker):
    """Target attention over the history (Zhou 2018)."""

    kind: Literal["din"]
    attention_hidden: tuple[PositiveInt, ...] = (32,)
    activation: Literal["dice", "prelu", "relu"] = "dice"
    history_length: PositiveInt = 50


RankerConfig = Annotated[DeepFMConfig | DINConfig, Field(discriminator="kind")]


class SamplesConfig(Settings):
    """What the ranker learns from.

    `candidates`: one group a request of the rank window: its positives, negatives among the fused candidates, and
    uniformly drawn items. `events`: the labelled rows of the training windows, as they are (groups by `request_id`
    if given).
    """

    kind: Literal["candidates", "events"] = "candidates"
    candidate_negatives: NonNegativeInt = 50
    uniform_negatives: NonNegativeInt = 0
    per: Literal["window", "event"] = "window"
    """A request for each user and window (positives: all its events), or for each event with its own history."""


class RankingConfig(Settings):
    """The ranker, its samples and its training."""

    model: RankerConfig
    samples: SamplesConfig = SamplesConfig()
    training: TrainingConfig = TrainingConfig()
    loss: Literal["bce"] = "bce"
