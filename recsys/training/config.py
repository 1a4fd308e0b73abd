"""Settings of the training loop; torch-free."""

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from recsys.problems import Problem
from recsys.settings import Settings
from recsys.training.arguments import TrainerArguments

__all__ = [
    "ConstantSchedule",
    "CosineSchedule",
    "CyclicSchedule",
    "ExponentialSchedule",
    "OneCycleSchedule",
    "OptimiserConfig",
    "PlateauSchedule",
    "ScheduleConfig",
    "StepSchedule",
    "TrainingConfig",
]

Share = Annotated[float, Field(ge=0, le=1)]
Below1 = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(gt=0, lt=1)]


class Schedule(Settings):
    """Settings of every schedule."""

    warmup: Below1 = 0.0
    """Share of all steps in which the rate rises from 0, times what the schedule says."""


class ConstantSchedule(Schedule):
    """The same rate throughout."""

    kind: Literal["constant"] = "constant"


class CosineSchedule(Schedule):
    """Down along half a cosine over all steps (Loshchilov and Hutter 2017, without restarts)."""

    kind: Literal["cosine"] = "cosine"
    last: Share = 0.0
    """Share of the rate that it ends at."""


class StepSchedule(Schedule):
    """Down by a factor every few epochs."""

    kind: Literal["step"] = "step"
    epochs: PositiveInt = 3
    """From one step down to the next."""
    factor: Factor = 0.1
    """What is left of the rate after a step down."""


class ExponentialSchedule(Schedule):
    """Down by a factor every epoch."""

    kind: Literal["exponential"] = "exponential"
    factor: Factor = 0.9
    """What is left of the rate after an epoch."""


class CyclicSchedule(Schedule):
    """Up and down in straight lines (Smith 2017)."""

    kind: Literal["cyclic"] = "cyclic"
    epochs: PositiveFloat = 2.0
    """Of a whole cycle, which begins and ends low."""
    low: Share = 0.1
    """Smallest share of the rate."""


class OneCycleSchedule(Schedule):
    """Up along half a cosine, then down to nearly nothing (Smith and Topin 2019)."""

    kind: Literal["one_cycle"] = "one_cycle"
    rising: Factor = 0.3
    """Share of all steps on the way up."""
    first: Share = 0.04
    """Share of the rate that it begins at."""
    last: Share = 0.0
    """Share of the rate that it ends at."""


class PlateauSchedule(Schedule):
    """Down by a factor when the validation figure (without one: the training loss) stands still."""

    kind: Literal["plateau"] = "plateau"
    factor: Factor = 0.5
    """What is left of the rate after a step down."""
    patience: NonNegativeInt = 0
    """Epochs without a better figure that are borne before the rate goes down. Training must be more patient than the
    schedule: see `patience` of the training."""


def _of_kind(value: object) -> object:
    """A word stands for the schedule of that kind."""
    return {"kind": value} if isinstance(value, str) else value


ScheduleConfig = Annotated[
    ConstantSchedule
    | CosineSchedule
    | StepSchedule
    | ExponentialSchedule
    | CyclicSchedule
    | OneCycleSchedule
    | PlateauSchedule,
    Field(discriminator="kind"),
    BeforeValidator(_of_kind),
]


class OptimiserConfig(Settings):
    """How weights are updated."""

    kind: Literal["sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "nadam"] = "adamw"
    """`adamw` takes weight decay off the weights, all others add it to the gradients."""
    tables: Literal["auto", "sgd", "adagrad", "adam", "rowwise_adagrad", "rowwise_adam"] = "auto"
    """Of embedding tables above 100,000 rows, whose gradients are sparse: only rows of the step are moved. `auto`: the
    same as `kind` where there is such a one, else `adam`. The rowwise ones keep one second moment a row."""
    learning_rate: PositiveFloat = 1e-3
    """The largest; see `schedule`."""
    momentum: Below1 = 0.0
    """Share of the last step that is taken again; of `sgd` and `rmsprop`."""
    nesterov: bool = False
    """Look ahead along the momentum (Nesterov 1983); of `sgd`."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 on matrices of the network, never on biases and norms."""
    embedding_weight_decay: NonNegativeFloat = 0.0
    """L2 on embedding tables; of those with sparse gradients, on the rows of the step."""
    l1: NonNegativeFloat = 0.0
    """L1 on matrices of the network."""
    embedding_l1: NonNegativeFloat = 0.0
    """L1 on embedding tables; of those with sparse gradients, on the rows of the step."""
    schedule: ScheduleConfig = CosineSchedule()
    """How the learning rate changes over the run: a word (`cosine`), or a mapping with its settings."""

    @model_validator(mode="after")
    def _momentum_fits(self) -> Self:
        if self.momentum and self.kind not in ("sgd", "rmsprop"):
            raise Problem(
                f"found {self.momentum:g} with {self.kind}, expected it with sgd or rmsprop", at=("momentum",)
            )
        if self.nesterov and not (self.kind == "sgd" and self.momentum):
            raise Problem("found true, expected it with kind: sgd and a momentum", at=("nesterov",))
        return self


class TrainingConfig(Settings):
    """One training run."""

    epochs: PositiveInt = 10
    """Passes over the samples, at most."""
    batch_size: PositiveInt = 256
    """Requests (groups) a batch."""
    accumulate: PositiveInt = 1
    """Batches a step: their gradients are averaged."""
    optimiser: OptimiserConfig = OptimiserConfig()
    """How weights are updated."""
    gradient_clip: NonNegativeFloat = 0.0
    """Largest norm of all gradients together; 0 turns clipping off."""
    ema: Below1 = 0.0
    """Decay a step of an exponential moving average of the weights, which then is what is validated and kept (Polyak
    1992); 0: none. 0.999 looks back a thousand steps."""
    patience: NonNegativeInt = 2
    """Epochs without a better validation figure before training stops; 0 never stops early. The best epoch is kept."""
    max_loss: PositiveFloat = 1e4
    """A larger training loss counts as exploded and stops the run."""
    checkpoint_minutes: NonNegativeFloat = 10.0
    """Time between checkpoints. A run that was killed goes on from the last one, to the same weights as if it had not
    been; 0: a checkpoint every step."""
    threads: PositiveInt | None = None
    """CPU threads of a step; `null`: one a core. Small models gain nothing from a second one and lose much to it on a
    busy machine. The same seed gives the same bytes with the same number of threads; another number rounds sums
    differently."""
    health_every: NonNegativeInt = 50
    """Steps between two looks at gradients, activations and embeddings, which are drawn as `health/…`, and warned of
    when they vanish, explode or are dead. The last step of an epoch is always looked at; 0: none is."""
    trainer: TrainerArguments = Field(default_factory=dict)
    """Arguments for `pytorch_lightning.Trainer`, such as `{accelerator: gpu, precision: bf16-mixed}`. With `devices: 2`
    two devices take a batch each a step, and average their gradients."""
