"""Settings of every ranker; torch-free."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

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
from recsys.ranking.settings.samples import SamplesConfig, WeightsConfig
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
    "TeacherConfig",
    "WeightsConfig",
    "WideDeepConfig",
    "XDeepFMConfig",
    "scores_are_log_odds",
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


class TeacherConfig(Settings):
    """A ranker that is trained first, on the same samples, and whose scores teach beside the labels (Hinton 2015)."""

    model: RankerConfig
    """The teacher, a network; usually a larger one, which may read inputs that the ranker cannot afford."""
    weight: PositiveFloat = 1.0
    """Of the divergence from its scores, beside the loss."""
    temperature: PositiveFloat = 2.0
    """The higher, the more it is about differences between what both score low."""
    over: Literal["entry", "list"] = "entry"
    """What is compared: the probability of each candidate, or the shares of all candidates of a request."""


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
    and read from there in every epoch through a shuffle buffer of half this size. Trees hold all of them,
    and so do a teacher, `hard_negatives` and positives that are made up."""
    loss: LossConfig = BCELoss(kind="bce")
    """What training minimises: a word, a mapping, a sum such as `bce + 0.1 * lambdarank`, or a list of these. Losses
    other than `bce`, `focal` and `mse` compare the candidates of a request. Trees have losses of their own."""
    tasks: dict[TaskName, TaskConfig] = Field(default_factory=dict)
    """Of rankers of several tasks, by name, at least two; `esmm` has two: the click, then the conversion. Samples are
    drawn by `data.positive`, whatever the tasks are."""
    calibration: Literal["none", "platt", "isotonic"] = "none"
    """How scores become the probabilities that are served beside them: by a line (`platt`) or a rising curve
    (`isotonic`), fitted on the valid window, for each task by itself. Scores keep the order. `none`: no probabilities
    are served, except σ(score) where a pipeline without routes is trained with `bce`."""
    threshold: Literal["none", "f1", "balanced_accuracy"] = "none"
    """By what the probability is chosen, on the valid window, from which an item is a yes; it is reported and travels
    with the bundle, and no answer is cut there. Without a calibration it is of σ(score), which then is served."""
    teacher: TeacherConfig | None = None
    """Whose scores the ranker learns from beside the labels; `null`: nobody's."""
    balance: Literal["fixed", "uncertainty", "gradnorm"] = "fixed"
    """How the losses of tasks are weighed: as their weights say, times a precision learned for each (`uncertainty`,
    Kendall 2018), or so that all learn at the same pace (`gradnorm`, Chen 2018)."""


def scores_are_log_odds(ranking: RankingConfig) -> bool:
    """Whether σ(score) is a probability as trained: `bce` alone, of every task, with the labels as they are.

    Trees of rows have it as their own loss; `lambdamart` orders lists, and its scores are no log-odds.
    """
    losses = [task.loss or ranking.loss for task in ranking.tasks.values()] or [ranking.loss]
    plain = all(isinstance(loss, BCELoss) and loss.positive_weight == 1 and not loss.label_smoothing for loss in losses)
    return plain and ranking.model.kind != "lambdamart"
