"""Settings of the training loop; torch-free."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from recsys.settings import Settings

__all__ = ["OptimiserConfig", "TrainingConfig"]


class OptimiserConfig(Settings):
    """How weights are updated."""

    kind: Literal["adam", "adamw"] = "adamw"
    """`adamw` takes weight decay off the weights, `adam` adds it to the gradients."""
    learning_rate: PositiveFloat = 1e-3
    """Of the first step; see `schedule`."""
    weight_decay: NonNegativeFloat = 0.0
    """On matrices of the network, never on biases and norms."""
    embedding_weight_decay: NonNegativeFloat = 0.0
    """On embedding tables; not on those too large for dense gradients."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate goes down over all epochs: not at all, or along a cosine to zero."""


class TrainingConfig(Settings):
    """One training run."""

    epochs: PositiveInt = 10
    """Passes over the samples, at most."""
    batch_size: PositiveInt = 256
    """Requests (groups) a step."""
    optimiser: OptimiserConfig = OptimiserConfig()
    """How weights are updated."""
    gradient_clip: NonNegativeFloat = 0.0
    """Largest gradient norm; 0 turns clipping off."""
    patience: NonNegativeInt = 2
    """Epochs without a better validation figure before training stops; 0 never stops early. The best epoch is kept."""
    max_loss: PositiveFloat = 1e4
    """A larger training loss counts as exploded and stops the run."""
    threads: PositiveInt | None = None
    """CPU threads of a step; `null`: one a core. Small models gain nothing from a second one and lose much to it on a
    busy machine."""
    trainer: dict[str, bool | int | float | str | None] = Field(default_factory=dict)
    """Extra arguments for `pytorch_lightning.Trainer`."""
