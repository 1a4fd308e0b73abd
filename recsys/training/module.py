"""The one LightningModule: model, loss and optimiser are handed to it."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recsys.errors import TrainingError
from recsys.losses.base import Objective
from recsys.nn.embedding import EmbeddingCollection
from recsys.training.batches import Batch
from recsys.training.config import OptimiserConfig, TrainingConfig

__all__ = ["Auxiliary", "EpochEnd", "TrainingModule", "optimisers"]

EpochEnd = Callable[[int, float], bool]
"""Takes the number of the epoch, from 1, and its mean training loss; says whether to go on."""


@runtime_checkable
class Auxiliary(Protocol):
    """A model that adds a term of its own to the loss, while it is trained."""

    def with_auxiliary(self, inputs: Mapping[str, Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """What `forward` gives, and a scalar to add to the loss."""
        ...


class TrainingModule(pl.LightningModule):
    """Trains any model whose scores a loss can judge: rankers `(B, C[, T])` and two-towers `(B, B)`.

    Args:
        model: `forward(inputs, mask)` gives scores.
        loss: see `recsys.losses.base`.
        config: of the training run.
        steps: steps of all epochs, for the schedule.
        epoch_end: called after every epoch.
    """

    def __init__(
        self, model: nn.Module, loss: Objective, config: TrainingConfig, steps: int, epoch_end: EpochEnd
    ) -> None:
        super().__init__()
        # Dense and sparse tables need an optimiser each, which Lightning steps only by hand.
        self.automatic_optimization = False
        self.model = model
        self.loss = loss
        self.config = config
        self.steps = steps
        self.epoch_end = epoch_end
        self._total = 0.0
        self._count = 0

    def configure_optimizers(self) -> list[Optimizer]:
        """See Lightning."""
        return optimisers(self.model, self.config.optimiser)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """See Lightning."""
        return batch.to(device)

    def training_step(self, batch: Batch, number: int) -> None:
        """One step of every optimiser. Raises `TrainingError` when the loss is not finite or explodes."""
        loss = self._loss(batch)
        self._check(float(loss.detach()), number)
        found = self.optimizers()
        steppers = found if isinstance(found, list) else [found]
        for optimiser in steppers:
            optimiser.zero_grad()
        self.manual_backward(loss)
        if self.config.gradient_clip:
            nn.utils.clip_grad_norm_(list(_dense(self.model)), self.config.gradient_clip)
        share = _rate_share(self.config.optimiser, self.global_step / len(steppers) / self.steps)
        for optimiser in steppers:
            for group in optimiser.param_groups:
                group["lr"] = self.config.optimiser.learning_rate * share
            optimiser.step()
        self._total += float(loss.detach())
        self._count += 1

    def _loss(self, batch: Batch) -> Tensor:
        own: Tensor | float = 0.0
        if isinstance(self.model, Auxiliary):
            scores, own = self.model.with_auxiliary(batch.inputs, batch.mask)
        else:
            scores = self.model(batch.inputs, batch.mask)
        labels = batch.labels.unsqueeze(-1) if scores.ndim > batch.labels.ndim else batch.labels
        return self.loss(scores, labels, mask=batch.mask) + own

    def on_train_epoch_end(self) -> None:
        """Checks the weights and asks whether to go on."""
        self._check_weights()
        mean, self._total, self._count = self._total / max(self._count, 1), 0.0, 0
        if not self.epoch_end(self.current_epoch + 1, mean):
            self.trainer.should_stop = True

    def _check(self, loss: float, number: int) -> None:
        if math.isfinite(loss) and loss <= self.config.max_loss:
            return
        bad = _first_bad(self.model)
        where = f"epoch {self.current_epoch + 1}, step {number + 1}"
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
                f"training diverged in epoch {self.current_epoch + 1}: {bad} is not finite; {self._advice()}"
            )


def optimisers(model: nn.Module, config: OptimiserConfig) -> list[Optimizer]:
    """One optimiser for everything dense, and SparseAdam for embedding tables with sparse gradients.

    Weight decay falls on matrices, never on biases, norms and other vectors; embedding tables have their own.
    """
    tables = [m for m in model.modules() if isinstance(m, EmbeddingCollection)]
    sparse = {id(table.weight) for table in tables if table.sparse}
    embedded = {id(table.weight) for table in tables}
    groups: dict[float, list[Tensor]] = {}
    for parameter in _unique(model):
        if id(parameter) in embedded:
            decay = config.embedding_weight_decay
        else:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
        if id(parameter) not in sparse:
            groups.setdefault(decay, []).append(parameter)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.kind]
    grouped = [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()]
    found: list[Optimizer] = [kind(grouped, lr=config.learning_rate)] if grouped else []
    large = [table.weight for table in tables if table.sparse]
    return [*found, torch.optim.SparseAdam(large, lr=config.learning_rate)] if large else found


def _unique(model: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def _dense(model: nn.Module) -> Iterator[nn.Parameter]:
    return (p for p in _unique(model) if p.grad is not None and not p.grad.is_sparse)


def _rate_share(config: OptimiserConfig, done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0))) if config.schedule == "cosine" else 1.0


def _first_bad(model: nn.Module) -> str:
    return next((name for name, values in model.named_parameters() if not bool(torch.isfinite(values).all())), "")
