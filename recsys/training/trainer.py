"""Runs a training: epochs, early stopping, the best weights kept."""

import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.losses.base import Objective
from recsys.training.batches import Batch, BatchSource, Samples
from recsys.training.config import TrainingConfig
from recsys.training.module import TrainingModule

__all__ = ["TrainResult", "Validation", "predict", "seeded", "train"]

Validation = tuple[str, Callable[[nn.Module], float]]
"""Name of a figure, higher is better, and how to get it from the model, which is in evaluation mode."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a training went.

    Attributes:
        epochs: epochs run.
        best_epoch: the epoch whose weights the model now has, from 1; the last one without validation.
        best: the validation figure of that epoch; NaN without validation.
    """

    epochs: int
    best_epoch: int
    best: float


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws from torch's generators start at a seed inside, and go on as if nothing had been outside."""
    with torch.random.fork_rng(enabled=True):
        torch.manual_seed(seed)
        yield


def train(
    model: nn.Module,
    loss: Objective,
    batches: BatchSource,
    config: TrainingConfig,
    *,
    seed: int,
    log: Callable[[str, float, int], None],
    validate: Validation | None = None,
) -> TrainResult:
    """Trains a model in place and leaves it in evaluation mode, on the CPU, with its best weights.

    Args:
        model: `forward(inputs, mask)` gives scores.
        loss: judges them.
        batches: of every epoch.
        config: of the run.
        seed: of the order of the batches and of dropout.
        log: takes `train/loss` and `valid/<name>` of every epoch.
        validate: what early stopping goes by; without it all epochs are run.

    Raises:
        TrainingError: a loss or a weight became NaN, infinite or too large.
        KeyboardInterrupt: on Ctrl-C.
    """
    watch = _Watch(model, config.patience, log, validate)
    module = TrainingModule(model, loss, config, len(batches) * config.epochs, watch.epoch_end)
    with seeded(seed), _threads(config.threads), _quiet(), _interruptible():
        settings: dict[str, Any] = {**_TRAINER, "max_epochs": config.epochs, **config.trainer}
        trainer = pl.Trainer(**settings)
        model.train()
        trainer.fit(module, train_dataloaders=_Epochs(batches, np.random.default_rng(seed)))
    model.cpu()
    if watch.best_state:
        model.load_state_dict(watch.best_state)
    model.eval()
    return TrainResult(watch.epochs, watch.best_epoch, watch.best)


@torch.no_grad()
def predict(model: nn.Module, samples: Samples) -> NDArray[np.float32]:
    """The model's scores of every group, in order: `(Q, C)`, of the first task if there are several."""
    device = next(model.parameters()).device
    parts = []
    for batch in samples.in_order():
        there = batch.to(device)
        scores = model(there.inputs, there.mask)
        parts.append((scores[..., 0] if scores.ndim > batch.labels.ndim else scores).cpu().numpy())
    return np.concatenate(parts)


_TRAINER: dict[str, Any] = {
    "accelerator": "auto",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}
"""Curves, best weights and progress are kept here, without files."""


@dataclass(slots=True)
class _Watch:
    """Validates after every epoch, keeps the best weights, and stops when they stay the best for too long."""

    model: nn.Module
    patience: int
    log: Callable[[str, float, int], None]
    validate: Validation | None
    epochs: int = 0
    best_epoch: int = 0
    best: float = float("nan")
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def epoch_end(self, epoch: int, loss: float) -> bool:
        self.epochs = epoch
        self.log("train/loss", loss, epoch)
        if self.validate is None:
            self.best_epoch = epoch
            return True
        name, figure = self.validate
        self.model.eval()
        with torch.no_grad():
            found = figure(self.model)
        self.model.train()
        self.log(f"valid/{name}", found, epoch)
        if math.isnan(self.best) or found > self.best:
            self.best, self.best_epoch = found, epoch
            self.best_state = {key: value.detach().cpu().clone() for key, value in self.model.state_dict().items()}
        return not self.patience or epoch - self.best_epoch < self.patience


class _Epochs:
    """What Lightning takes for a data loader: each pass is an epoch."""

    def __init__(self, batches: BatchSource, rng: np.random.Generator) -> None:
        self._batches = batches
        self._rng = rng

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return self._batches.epoch(self._rng)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's greetings, and without torch's complaint of how Lightning calls it."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays Ctrl-C: Lightning would make a bare exit of it, and ignore it from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
