"""Settings of every ranker; torch-free."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from recsys.losses.config import BCELoss, LossConfig
from recsys.ranking.settings.crossing import (
    AFMConfig,
    AutoIntConfig,
    DCNConfig,
    DCNv2Config,
    DeepFMConfig,
    FinalMLPConfig,
    FNNConfig,
    NFMConfig,
    PNNConfig,
    WideDeepConfig,
    XDeepFMConfig,
)
from recsys.ranking.settings.linear import FFMConfig, FMConfig, FwFMConfig, LRConfig
from recsys.ranking.settings.sequences import DINConfig
from recsys.settings import Settings
from recsys.training.config import TrainingConfig

__all__ = [
    "AFMConfig",
    "AutoIntConfig",
    "DCNConfig",
    "DCNv2Config",
    "DINConfig",
    "DeepFMConfig",
    "FFMConfig",
    "FMConfig",
    "FNNConfig",
    "FinalMLPConfig",
    "FwFMConfig",
    "LRConfig",
    "NFMConfig",
    "PNNConfig",
    "RankerConfig",
    "RankingConfig",
    "SamplesConfig",
    "WideDeepConfig",
    "XDeepFMConfig",
]

RankerConfig = Annotated[
    LRConfig
    | FMConfig
    | FFMConfig
    | FwFMConfig
    | FNNConfig
    | PNNConfig
    | WideDeepConfig
    | DeepFMConfig
    | NFMConfig
    | AFMConfig
    | DCNConfig
    | DCNv2Config
    | XDeepFMConfig
    | AutoIntConfig
    | FinalMLPConfig
    | DINConfig,
    Field(discriminator="kind"),
]


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
    loss: LossConfig = BCELoss(kind="bce")
    """What training minimises: a word, a mapping, a sum such as `bce + 0.1 * lambdarank`, or a list of these. Losses
    other than `bce`, `focal` and `mse` compare the candidates of a request."""
