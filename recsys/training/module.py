"""The one LightningModule: model, loss and settings are handed to it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from recsys.errors import TrainingError
from recsys.losses.base import Objective
from recsys.training.average import WeightAverage
from recsys.training.batches import Batch
from recsys.training.config import TrainingConfig
from recsys.training.optimisers import JointOptimiser, clip_gradients, optimiser_of
from recsys.training.schedules import RateSchedule

__all__ = ["Auxiliary", "Progress", "TrainingModule"]


@runtime_checkable
class Auxiliary(Protocol):
    """A model that adds a term of its own to the loss, while it is trained."""

    def with_auxiliary(self, inputs: Mapping[str, Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """What `forward` gives, and a scalar to add to the loss."""
        ...


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        epoch: epochs done.
        batch: batches done of the present epoch.
        step: steps of the optimiser done.
        total: sum of the losses of the present epoch's batches.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    total: float = 0.0


class TrainingModule(pl.LightningModule):
    """Trains any model whose scores a loss can judge: rankers `(B, C[, T])` and two-towers `(B, B)`.

    Args:
        model: `forward(inputs, mask)` gives scores.
        loss: see `recsys.losses.base`.
        config: of the training run.
        batches: an epoch.
        epoch_end: takes the mean loss of every epoch; says whether to go on.
        keep: called where a run can be taken up again: between two steps, and after an epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Objective,
        config: TrainingConfig,
        batches: int,
        epoch_end: Callable[[float], bool],
        keep: Callable[[], None],
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.config = config
        self.batches = batches
        self.epoch_end = epoch_end
        self.keep = keep
        self.schedule = RateSchedule(config.optimiser.schedule, config.epochs, -(-batches // config.accumulate))
        self.average = WeightAverage(model, config.ema) if config.ema else None
        self.progress = Progress()
        self._optimiser: JointOptimiser | None = None
        self._resumed: dict[str, Any] | None = None

    def configure_optimizers(self) -> Optimizer:
        """See Lightning."""
        self._optimiser = optimiser_of(nn.ModuleList([self.model, *self._weighing]), self.config.optimiser)
        if self._resumed is not None:
            self._optimiser.load_state_dict(self._resumed)
        return self._optimiser

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """See Lightning."""
        return batch.to(device)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """The loss of a batch. Raises `TrainingError` when it is not finite or explodes."""
        loss = self._loss(batch)
        value = float(loss.detach())
        self._check(value)
        self.progress.total += value
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """See Lightning, whose own clipping stops at sparse gradients."""
        largest = self.config.gradient_clip or gradient_clip_val
        if largest:
            clip_gradients([p for group in optimizer.param_groups for p in group["params"]], largest)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """See Lightning: a step at the rate of the schedule."""
        rate = self.config.optimiser.learning_rate * self.schedule.share(self.progress.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step(closure=optimizer_closure)
        if self.average is not None:
            self.average.follow(self.progress.step)
        self.progress.step += 1

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """See Lightning."""
        self.progress.batch += 1
        if self.progress.batch % self.config.accumulate == 0 and self.progress.batch < self.batches:
            self.keep()

    def on_train_epoch_end(self) -> None:
        """Checks the weights and asks whether to go on."""
        self._check_weights()
        mean = self.progress.total / max(self.progress.batch, 1)
        self.progress.epoch += 1
        self.progress.batch, self.progress.total = 0, 0.0
        if not self.epoch_end(mean):
            self.trainer.should_stop = True
        self.keep()

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on from here, but the state of what draws random numbers."""
        assert self._optimiser is not None
        return {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "loss": [part.state_dict() for part in self._weighing],
            "schedule": self.schedule.state(),
            "average": self.average.values if self.average else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was asked; to be called before the fit."""
        for name, value in state["progress"].items():
            setattr(self.progress, name, value)
        self.model.load_state_dict(state["model"])
        self._resumed = state["optimiser"]
        for part, kept in zip(self._weighing, state["loss"], strict=True):
            part.load_state_dict(kept)
        self.schedule.restore(state["schedule"])
        if self.average is not None:
            self.average.values = state["average"]

    @property
    def _weighing(self) -> list[nn.Module]:
        """The loss, if it learns, too: how much each task counts."""
        return [self.loss] if isinstance(self.loss, nn.Module) else []

    def _loss(self, batch: Batch) -> Tensor:
        own: Tensor | float = 0.0
        if isinstance(self.model, Auxiliary):
            scores, own = self.model.with_auxiliary(batch.inputs, batch.mask)
        else:
            scores = self.model(batch.inputs, batch.mask)
        if batch.offset is not None:
            # In the offset's precision: half of it would round log-odds.
            scores = scores + (batch.offset.unsqueeze(-1) if scores.ndim > batch.offset.ndim else batch.offset)
        labels = batch.labels.unsqueeze(-1) if scores.ndim > batch.labels.ndim else batch.labels
        counted = {} if batch.weight is None else {"weight": batch.weight}
        return self.loss(scores, labels, mask=batch.mask, **counted) + own

    def _check(self, loss: float) -> None:
        if math.isfinite(loss) and loss <= self.config.max_loss:
            return
        bad = _first_bad(self.model)
        where = f"epoch {self.progress.epoch + 1}, step {self.progress.batch + 1}"
        raise TrainingError(
            f"training diverged at {where}: the loss is {loss:g}, expected at most {self.config.max_loss:g}"
            f"{f'; {bad} is not finite' if bad else '; all weights are finite, so look at the inputs too'}; "
            f"{self._advice()}"
        )

    def _advice(self) -> str:
        rate = self.config.optimiser.learning_rate
        return f"try a smaller optimiser.learning_rate (now {rate:g}) or a gradient_clip"

    def _check_weights(self) -> None:
        bad = _first_bad(self.model)
        if bad:
            raise TrainingError(
                f"training diverged in epoch {self.progress.epoch + 1}: {bad} is not finite; {self._advice()}"
            )


def _first_bad(model: nn.Module) -> str:
    return next((name for name, values in model.named_parameters() if not bool(torch.isfinite(values).all())), "")
