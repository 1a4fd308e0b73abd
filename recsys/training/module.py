"""The one LightningModule: model, loss and settings are handed to it."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
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
from recsys.training.health import Health
from recsys.training.optimisers import JointOptimiser, clip_gradients, optimiser_of
from recsys.training.plan import Plan
from recsys.training.ranks import Ranks
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
        plan: how long it is.
        ranks: this process among those that train the model together.
        epoch_end: takes the figures of every epoch, `train/loss` first; says whether to go on.
        keep: called where a run can be taken up again: between two steps, and after an epoch.
        say: takes a message of what is wrong.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Objective,
        config: TrainingConfig,
        plan: Plan,
        ranks: Ranks,
        epoch_end: Callable[[Mapping[str, float]], bool],
        keep: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.config = config
        self.plan = plan
        self.ranks = ranks
        self.epoch_end = epoch_end
        self.keep = keep
        self.schedule = RateSchedule(config.optimiser.schedule, plan.length, plan.steps)
        self.average = WeightAverage(model, config.ema) if config.ema else None
        self.health = Health(model, say) if config.health_every else None
        self.progress = Progress()
        self._optimiser: JointOptimiser | None = None
        self._resumed: dict[str, Any] = {}

    def configure_optimizers(self) -> Optimizer:
        """See Lightning."""
        self._optimiser = optimiser_of(nn.ModuleList([self.model, *self._weighing]), self.config.optimiser)
        if self._resumed:
            self._optimiser.load_state_dict(self._resumed["optimiser"])
            self.trainer.precision_plugin.load_state_dict(self._resumed["precision"])
        return self._optimiser

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """See Lightning."""
        return batch.to(device)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """The loss of a batch. Raises `TrainingError` when it is not finite or explodes."""
        with self._look():
            loss = self._loss(batch)
        value = float(loss.detach())
        self._check(value, batch)
        self.progress.total += value
        return loss

    def on_after_backward(self) -> None:
        """See Lightning: before gradients of scaled losses are scaled back, so that all ranks find the same."""
        if self._ends_step:
            buffers = (part for whole in (self.model, *self._weighing) for part in whole.buffers())
            self.ranks.average(self._trained, (part for part in buffers if part.is_floating_point()))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """See Lightning, whose own clipping stops at sparse gradients."""
        if self.health is not None:
            self.health.touched()
            if self._looks:
                self.health.sloped()
        if self.config.gradient_clip:
            clip_gradients(self._trained, self.config.gradient_clip)

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
        ended = self._ends_step
        self.progress.batch += 1
        if ended and self.progress.batch < self.plan.of(self.progress.epoch):
            self.keep()

    def on_train_epoch_end(self) -> None:
        """Checks the weights and asks whether to go on."""
        self._check_weights()
        figures = {"train/loss": self.ranks.mean(self.progress.total / max(self.progress.batch, 1))}
        if self.health is not None:
            figures |= self.health.figures()
        self.progress.epoch += 1
        self.progress.batch, self.progress.total = 0, 0.0
        if not self.epoch_end(figures):
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
            "precision": self.trainer.precision_plugin.state_dict(),
            "health": self.health.state() if self.health else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was asked; to be called before the fit."""
        for name, value in state["progress"].items():
            setattr(self.progress, name, value)
        self.model.load_state_dict(state["model"])
        self._resumed = state
        for part, kept in zip(self._weighing, state["loss"], strict=True):
            part.load_state_dict(kept)
        self.schedule.restore(state["schedule"])
        if self.average is not None:
            self.average.values = state["average"]
        if self.health is not None:
            self.health.restore(state["health"])

    @property
    def _trained(self) -> list[Tensor]:
        assert self._optimiser is not None
        return [parameter for group in self._optimiser.param_groups for parameter in group["params"]]

    @property
    def _ends_step(self) -> bool:
        return self.plan.ends_step(self.progress.epoch, self.progress.batch)

    @property
    def _looks(self) -> bool:
        """Whether the present step is looked at: every so often, and the last of an epoch."""
        batch, every = self.progress.batch, self.config.health_every * self.plan.accumulate
        return (batch + 1) % every == 0 or batch + 1 == self.plan.of(self.progress.epoch)

    def _look(self) -> AbstractContextManager[None]:
        if self.health is None:
            return nullcontext()
        # What later looks are compared with is the first step.
        return self.health.looking(self._looks or (self.progress.step == 0 and self.progress.batch == 0))

    @property
    def _weighing(self) -> list[nn.Module]:
        """The loss, if it learns, too: how much each task counts."""
        return [self.loss] if isinstance(self.loss, nn.Module) else []

    def _loss(self, batch: Batch) -> Tensor:
        scores, own = self._scored(batch)
        if batch.offset is not None:
            # In the offset's precision: half of it would round log-odds.
            scores = scores + (batch.offset.unsqueeze(-1) if scores.ndim > batch.offset.ndim else batch.offset)
        labels = batch.labels.unsqueeze(-1) if scores.ndim > batch.labels.ndim else batch.labels
        counted = {} if batch.weight is None else {"weight": batch.weight}
        return self.loss(scores, labels, mask=batch.mask, **counted) + own

    def _scored(self, batch: Batch) -> tuple[Tensor, Tensor | float]:
        """Scores, and the model's own term of the loss."""
        if isinstance(self.model, Auxiliary):
            return self.model.with_auxiliary(batch.inputs, batch.mask)
        return self.model(batch.inputs, batch.mask), 0.0

    def _check(self, loss: float, batch: Batch) -> None:
        bad = not math.isfinite(loss) or loss > self.config.max_loss
        if not self.ranks.any(bad):
            return
        where = f"epoch {self.progress.epoch + 1}, step {self.progress.batch + 1}"
        told = (
            f"training diverged at {where}: the loss is {loss:g}, expected at most {self.config.max_loss:g}; "
            f"{self._origin(batch)}"
        )
        raise TrainingError(next(text for text in self.ranks.gather(told if bad else "") if text))

    def _origin(self, batch: Batch) -> str:
        health = self.health or Health(self.model, lambda _: None)
        found = health.beginning_of(batch, lambda: self._scored(batch))
        if not found:
            return f"no layer gives large numbers, so look at the loss; {self._advice()}"
        return f"it begins in {found}; {self._advice()}" if found.startswith("layer") else f"it begins in {found}"

    def _advice(self) -> str:
        rate = self.config.optimiser.learning_rate
        return f"try a smaller optimiser.learning_rate (now {rate:g}) or a gradient_clip"

    def _check_weights(self) -> None:
        named = self.model.named_parameters()
        bad = next((name for name, values in named if not bool(torch.isfinite(values).all())), "")
        if bad:
            raise TrainingError(
                f"training diverged in epoch {self.progress.epoch + 1}: {bad} is not finite; {self._advice()}"
            )
