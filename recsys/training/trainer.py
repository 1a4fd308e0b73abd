"""Runs a training: epochs, early stopping, the best weights kept."""

import itertools
import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.losses.base import Objective
from recsys.training.batches import Batch, BatchSource, SampleSource
from recsys.training.checkpoint import Checkpoints
from recsys.training.config import TrainingConfig
from recsys.training.memory import kept_memory
from recsys.training.module import Progress, TrainingModule

__all__ = ["TrainResult", "Validation", "predict", "seeded", "train"]

Validation = Callable[[nn.Module], Mapping[str, float]]
"""Figures by name of the model, which is in evaluation mode. The first, higher is better, is what training goes by."""


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
    checkpoints: Path | None = None,
) -> TrainResult:
    """Trains a model in place and leaves it in evaluation mode, on the CPU, with its best weights.

    Args:
        model: `forward(inputs, mask)` gives scores.
        loss: judges them.
        batches: of every epoch.
        config: of the run.
        seed: of the order of the batches and of dropout.
        log: takes `train/loss` and each `valid/<name>` of every epoch.
        validate: what early stopping goes by; without it all epochs are run.
        checkpoints: a folder of this run alone: one that was killed goes on from what it left there.

    Raises:
        TrainingError: a loss or a weight became NaN, infinite or too large.
        KeyboardInterrupt: on Ctrl-C.
    """
    run = _Run(model, loss, batches, config, seed, log, validate, checkpoints)
    with seeded(seed), _threads(config.threads), kept_memory(), _quiet(), _interruptible():
        run.resume()
        settings: dict[str, Any] = {**_TRAINER, "max_epochs": config.epochs, **config.trainer}
        settings["max_epochs"] -= run.progress.epoch
        model.train()
        if not run.watch.stopped:
            trainer = pl.Trainer(**settings, accumulate_grad_batches=config.accumulate)
            trainer.fit(run.module, train_dataloaders=run.epochs)
    model.cpu()
    run.settle()
    model.eval()
    return TrainResult(run.watch.epochs, run.watch.best_epoch, run.watch.best)


@torch.no_grad()
def predict(model: nn.Module, samples: SampleSource) -> NDArray[np.float32]:
    """The model's scores of every group, in order: `(Q, C)`, or `(Q, C, T)` where labels are of several tasks."""
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
    # The first epoch of a run that goes on is shorter than the others.
    "reload_dataloaders_every_n_epochs": 1,
}
"""Curves, checkpoints, best weights and progress are kept here."""


@dataclass(slots=True)
class _Watch:
    """Validates after every epoch, keeps the best weights, and stops when they stay the best for too long."""

    patience: int
    log: Callable[[str, float, int], None]
    epochs: int = 0
    best_epoch: int = 0
    best: float = float("nan")
    best_state: dict[str, Tensor] = field(default_factory=dict)
    stopped: bool = False
    curve: list[tuple[str, float, int]] = field(default_factory=list)

    def say(self, name: str, value: float) -> None:
        self.curve.append((name, value, self.epochs))
        self.log(*self.curve[-1])

    def judged(self, figure: float, model: nn.Module) -> None:
        if math.isnan(self.best) or figure > self.best:
            self.best, self.best_epoch = figure, self.epochs
            self.best_state = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        self.stopped = bool(self.patience) and self.epochs - self.best_epoch >= self.patience

    def state(self) -> dict[str, Any]:
        names = ("epochs", "best_epoch", "best", "best_state", "stopped", "curve")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        for point in self.curve:
            self.log(*point)


class _Run:
    """A run's parts, and how they go on together from a checkpoint."""

    def __init__(
        self,
        model: nn.Module,
        loss: Objective,
        batches: BatchSource,
        config: TrainingConfig,
        seed: int,
        log: Callable[[str, float, int], None],
        validate: Validation | None,
        checkpoints: Path | None,
    ) -> None:
        self.model = model
        self.validate = validate
        self.watch = _Watch(config.patience, log)
        self.module = TrainingModule(model, loss, config, len(batches), self._epoch_end, self._keep)
        self.epochs = _Epochs(batches, np.random.default_rng(seed), self.progress)
        self.checkpoints = None if checkpoints is None else Checkpoints(checkpoints, config.checkpoint_minutes)

    @property
    def progress(self) -> Progress:
        return self.module.progress

    def resume(self) -> None:
        state = None if self.checkpoints is None else self.checkpoints.load()
        if state is not None:
            # Sums are rounded by how they are shared out among threads.
            torch.set_num_threads(state["threads"])
            self.module.restore(state["module"])
            self.watch.restore(state["watch"])
            self.epochs.restore(state["epochs"])

    def settle(self) -> None:
        """The run is over: the model gets the weights to keep."""
        if self.watch.best_state:
            self.model.load_state_dict(self.watch.best_state)
        elif self.module.average is not None:
            self.module.average.apply()
        if self.checkpoints is not None:
            self.checkpoints.clear()

    def _keep(self) -> None:
        if self.checkpoints is not None and self.checkpoints.due:
            parts = {"module": self.module.state(), "watch": self.watch.state(), "epochs": self.epochs.state()}
            self.checkpoints.save({"threads": torch.get_num_threads(), **parts})

    def _epoch_end(self, loss: float) -> bool:
        self.watch.epochs += 1
        self.watch.say("train/loss", loss)
        if self.validate is None:
            self.watch.best_epoch = self.watch.epochs
            self.module.schedule.judged(-loss)
        else:
            self.module.schedule.judged(self._validated(self.validate))
        return not self.watch.stopped

    def _validated(self, validate: Validation) -> float:
        average = self.module.average
        with nullcontext() if average is None else average.applied():
            self.model.eval()
            with torch.no_grad():
                figures = validate(self.model)
            self.model.train()
            for name, value in figures.items():
                self.watch.say(f"valid/{name}", value)
            first = next(iter(figures.values()))
            self.watch.judged(first, self.model)
        return first


class _Epochs:
    """What Lightning takes for a data loader: each pass is an epoch, the first what is left of one."""

    def __init__(self, batches: BatchSource, rng: np.random.Generator, progress: Progress) -> None:
        self._batches = batches
        self._rng = rng
        self._progress = progress
        self._drawn = rng.bit_generator.state
        self._first: tuple[int, int] = (0, 0)
        self._torch: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._batches) - self._skipped

    def __iter__(self) -> Iterator[Batch]:
        self._drawn = self._rng.bit_generator.state
        left = itertools.islice(self._batches.epoch(self._rng), self._skipped, None)
        for number, batch in enumerate(left):
            if number == 0 and self._torch:
                _set_torch_states(self._torch)
                self._torch = []
            yield batch

    @property
    def _skipped(self) -> int:
        epoch, batches = self._first
        return batches if self._progress.epoch == epoch else 0

    def state(self) -> dict[str, Any]:
        """Of what draws random numbers: batches as they were when the epoch began, torch as it is."""
        drawn = self._drawn if self._progress.batch else self._rng.bit_generator.state
        return {"batches": drawn, "torch": _torch_states()}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was asked, at the progress made."""
        self._rng.bit_generator.state = state["batches"]
        self._first = (self._progress.epoch, self._progress.batch)
        self._torch = state["torch"]


def _torch_states() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ())]


def _set_torch_states(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[1:])


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
