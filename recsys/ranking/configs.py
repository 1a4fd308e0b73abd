"""Settings of every ranker; torch-free."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

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
from recsys.ranking.settings.sequences import BSTConfig, DIENConfig, DINConfig, DSINConfig
from recsys.ranking.settings.tasks import ESMMConfig, MMoEConfig, PLEConfig, SharedBottomConfig
from recsys.ranking.settings.trees import GBDTConfig, GBDTLRConfig, LambdaMARTConfig
from recsys.settings import Settings
from recsys.training.config import TrainingConfig

__all__ = [
    "MULTI_TASK",
    "TREES",
    "AFMConfig",
    "AutoIntConfig",
    "BSTConfig",
    "DCNConfig",
    "DCNv2Config",
    "DIENConfig",
    "DINConfig",
    "DSINConfig",
    "DeepFMConfig",
    "ESMMConfig",
    "FFMConfig",
    "FMConfig",
    "FNNConfig",
    "FinalMLPConfig",
    "FwFMConfig",
    "GBDTConfig",
    "GBDTLRConfig",
    "LRConfig",
    "LambdaMARTConfig",
    "MMoEConfig",
    "NFMConfig",
    "PLEConfig",
    "PNNConfig",
    "RankerConfig",
    "RankingConfig",
    "SamplesConfig",
    "SharedBottomConfig",
    "TaskConfig",
    "WeightsConfig",
    "WideDeepConfig",
    "XDeepFMConfig",
]

TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]

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
    | DINConfig
    | DIENConfig
    | DSINConfig
    | BSTConfig
    | SharedBottomConfig
    | MMoEConfig
    | PLEConfig
    | ESMMConfig
    | GBDTConfig
    | LambdaMARTConfig
    | GBDTLRConfig,
    Field(discriminator="kind"),
]


MULTI_TASK = ("shared_bottom", "mmoe", "ple", "esmm")
"""Rankers of several tasks."""
TREES = ("gbdt", "lambdamart", "gbdt_lr")
"""Rankers made of decision trees."""


class WeightsConfig(Settings):
    """How much each sample counts. What is not set here counts 1."""

    half_life_days: PositiveFloat | None = None
    """Age at which an event counts half, from the newest that the ranker learns from; `null`: old ones count as new."""
    value: str | None = None
    """One of `data.interactions.labels`, such as watch time or order value: positives count in proportion to it."""
    propensity: bool = False
    """Positives count the inverse of `data.interactions.propensity`: those in places that are rarely looked at count
    more, so that the ranker does not learn the places."""
    least_propensity: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Smaller ones count as this one."""


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
    weights: WeightsConfig = WeightsConfig()
    """How much each sample counts."""
    length_pool: PositiveInt = 8
    """Batches that are drawn together and sorted by the length of the history, so that rankers that read it work on
    little padding; 1: not sorted."""


class TaskConfig(Settings):
    """One of several tasks: what counts as a positive, and how much."""

    label: str
    """One of `data.interactions.labels`."""
    at_least: float = 1.0
    """The smallest value that counts as a positive."""
    weight: PositiveFloat = 1.0
    """Of the task's loss."""
    loss: LossConfig | None = None
    """What training minimises for this task; `null`: as `ranking.loss` says."""
    score: NonNegativeFloat = 1.0
    """Power of the task's probability in the score that candidates are ordered by; with 0 the task only teaches."""


class RankingConfig(Settings):
    """The ranker, its samples and its training."""

    model: RankerConfig
    """The network."""
    samples: SamplesConfig = SamplesConfig()
    """What it learns from."""
    training: TrainingConfig = TrainingConfig()
    """How it learns."""
    memory_mb: PositiveFloat = 4096
    """Megabytes that encoded samples may take. What is larger is written to disk once, group of rows by group of rows,
    and read from there in every epoch through a shuffle buffer of half this size. Trees hold all of them."""
    loss: LossConfig = BCELoss(kind="bce")
    """What training minimises: a word, a mapping, a sum such as `bce + 0.1 * lambdarank`, or a list of these. Losses
    other than `bce`, `focal` and `mse` compare the candidates of a request. Trees have losses of their own."""
    tasks: dict[TaskName, TaskConfig] = Field(default_factory=dict)
    """Of rankers of several tasks, by name, at least two; `esmm` has two: the click, then the conversion. Samples are
    drawn by `data.positive`, whatever the tasks are."""
    balance: Literal["fixed", "uncertainty", "gradnorm"] = "fixed"
    """How the losses of tasks are weighed: as their weights say, times a precision learned for each (`uncertainty`,
    Kendall 2018), or so that all learn at the same pace (`gradnorm`, Chen 2018)."""
