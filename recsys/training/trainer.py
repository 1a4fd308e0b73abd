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
from lightning_fabric.utilities.exceptions import MisconfigurationException
from numpy.typing import NDArray
from pytorch_lightning.accelerators import CUDAAccelerator
from torch import Tensor, nn

from recsys.errors import ConfigError
from recsys.losses.base import Objective
from recsys.training.arguments import PASSED
from recsys.training.batches import Batch, BatchSource, SampleSource, Stateful
from recsys.training.checkpoint import Checkpoints
from recsys.training.config import TrainingConfig
from recsys.training.memory import kept_memory
from recsys.training.module import Progress, TrainingModule
from recsys.training.plan import Plan, plan
from recsys.training.ranks import Ranks, crew

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
    with torch.random.fork_rng(range(torch.cuda.device_count())):
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
    say: Callable[[str], None] = lambda _: None,
    validate: Validation | None = None,
    checkpoints: Path | None = None,
) -> TrainResult:
    """Trains a model in place and leaves it in evaluation mode, on the CPU, with its best weights.

    Args:
        model: `forward(inputs, mask)` gives scores.
        loss: judges them.
        batches: of every epoch; on several devices each takes a batch a step.
        config: of the run.
        seed: of the order of the batches and of dropout.
        log: takes `train/loss`, each `health/<name>` and each `valid/<name>` of every epoch.
        say: takes what is wrong with the training, though it goes on: a line for whoever watches.
        validate: what early stopping goes by; without it all epochs are run.
        checkpoints: a folder of this run alone: one that was killed goes on from what it left there.

    Raises:
        ConfigError: Lightning takes the arguments in `config.trainer` for wrong, or the machine has no such devices.
        TrainingError: a loss or a weight became NaN, infinite or too large, or a process was killed.
        KeyboardInterrupt: on Ctrl-C.
    """
    with _quiet(config.trainer):
        devices = _devices(config.trainer)
    keeper = None if checkpoints is None else Checkpoints(checkpoints, config.checkpoint_minutes)
    state = None if keeper is None else keeper.load()
    if state is not None and len(state["own"]) != len(devices):
        state = None
    length = plan(config, len(batches), len(devices))
    parts = _Parts(model, loss, batches, config, length, seed, state, devices)
    with crew(len(devices), _follow, parts, cuda=devices[0].cuda) as ranks, _interruptible():
        run = _Run(parts, ranks, log, say, validate, keeper)
        run.go(state)
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


@dataclass(frozen=True, slots=True)
class _Device:
    """What one process trains on, in Lightning's words."""

    accelerator: str
    devices: int | list[int]

    @property
    def cuda(self) -> bool:
        return self.accelerator == "cuda"


@dataclass(frozen=True, slots=True)
class _Parts:
    """What every process of a run needs."""

    model: nn.Module
    loss: Objective
    batches: BatchSource
    config: TrainingConfig
    plan: Plan
    seed: int
    state: dict[str, Any] | None
    devices: list[_Device]


def _follow(ranks: Ranks, parts: _Parts) -> None:
    """What the processes of a run do but the first."""
    _Run(parts, ranks, lambda *_: None, lambda _: None, None, None).go(parts.state)


def _devices(arguments: Mapping[str, Any]) -> list[_Device]:
    """One for each process."""
    probe = _trainer({name: arguments[name] for name in ("accelerator", "devices") if name in arguments})
    if probe.num_devices > 1 and arguments.get("max_time") is not None:
        raise ConfigError(
            f"training.trainer.max_time: found it with {probe.num_devices} devices, whose clocks differ; set max_steps"
        )
    if isinstance(probe.accelerator, CUDAAccelerator):
        return [_Device("cuda", [place]) for place in probe.device_ids]
    accelerator = str(arguments.get("accelerator", "auto"))
    return [_Device(accelerator, 1) for _ in range(probe.num_devices)]


def _trainer(settings: Mapping[str, Any]) -> pl.Trainer:
    try:
        return pl.Trainer(**{**_TRAINER, **settings})
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"training.trainer: Lightning cannot be set up so: {error}") from error


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
    """A run's parts, and how they go on together from a checkpoint. The first process alone validates and keeps."""

    def __init__(
        self,
        parts: _Parts,
        ranks: Ranks,
        log: Callable[[str, float, int], None],
        say: Callable[[str], None],
        validate: Validation | None,
        checkpoints: Checkpoints | None,
    ) -> None:
        self.parts = parts
        self.model = parts.model
        self.ranks = ranks
        self.validate = validate
        self.watch = _Watch(parts.config.patience, log)
        self.plan = parts.plan
        self.module = TrainingModule(
            parts.model, parts.loss, parts.config, self.plan, ranks, self._epoch_end, self._keep, say
        )
        rng = np.random.default_rng(parts.seed)
        self.epochs = _Epochs(parts.batches, rng, self.module.progress, self.plan, ranks)
        self.checkpoints = checkpoints

    def go(self, state: dict[str, Any] | None) -> None:
        """Runs the epochs that are left, and leaves the model on the CPU."""
        config, device = self.parts.config, self.parts.devices[self.ranks.rank]
        threads = config.threads or max(torch.get_num_threads() // self.ranks.size, 1)
        with seeded(self.parts.seed + self.ranks.rank), _switches(threads), kept_memory(), _quiet(config.trainer):
            self._resume(state)
            self.model.train()
            if not self.watch.stopped:
                passed: dict[str, Any] = {n: v for n, v in config.trainer.items() if n in PASSED - {"strategy"}}
                passed |= {"accelerator": device.accelerator, "devices": device.devices}
                passed |= {"max_epochs": self.plan.epochs - self.module.progress.epoch}
                trainer = _trainer({**passed, "accumulate_grad_batches": config.accumulate})
                if trainer.strategy.root_device.type == "cpu" and "deterministic" not in config.trainer:
                    _add_up_in_order()
                trainer.fit(self.module, train_dataloaders=self.epochs)
            self.model.cpu()

    def _resume(self, state: dict[str, Any] | None) -> None:
        if state is not None:
            # Sums are rounded by how they are shared out among threads.
            torch.set_num_threads(state["threads"])
            self.module.restore(state["module"])
            self.watch.restore(state["watch"])
            own = state["own"][self.ranks.rank]
            self.module.progress.total = own["total"]
            self.epochs.restore(state["epochs"], own["torch"])

    def settle(self) -> None:
        """The run is over: the model gets the weights to keep."""
        if self.watch.best_state:
            self.model.load_state_dict(self.watch.best_state)
        elif self.module.average is not None:
            self.module.average.apply()
        if self.checkpoints is not None:
            self.checkpoints.clear()

    def _keep(self) -> None:
        if not self.ranks.any(self.checkpoints is not None and self.checkpoints.due):
            return
        own = self.ranks.gather({"torch": _torch_states(), "total": self.module.progress.total})
        if self.checkpoints is not None:
            parts = {"module": self.module.state(), "watch": self.watch.state(), "epochs": self.epochs.state()}
            self.checkpoints.save({"threads": torch.get_num_threads(), "own": own, **parts})

    def _epoch_end(self, figures: Mapping[str, float]) -> bool:
        self.watch.epochs += 1
        for name, value in figures.items():
            self.watch.say(name, value)
        figure = -figures["train/loss"]
        if self.validate is None:
            self.watch.best_epoch = self.watch.epochs
        else:
            figure = self._validated(self.validate)
        # The first process alone validates.
        figure, self.watch.stopped = self.ranks.first((figure, self.watch.stopped))
        self.module.schedule.judged(figure)
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
    """What Lightning takes for a data loader: each pass is an epoch, the first what is left of one.

    Of several processes each takes a batch in turn.
    """

    def __init__(
        self, batches: BatchSource, rng: np.random.Generator, progress: Progress, plan: Plan, ranks: Ranks
    ) -> None:
        self._batches = batches
        self._rng = rng
        self._progress = progress
        self._plan = plan
        self._ranks = ranks
        self._drawn = rng.bit_generator.state
        self._first: tuple[int, int] = (0, 0)
        self._torch: list[Tensor] = []

    def __len__(self) -> int:
        # Lightning asks once more when all is done.
        return max(self._plan.of(self._progress.epoch) - self._skipped, 0)

    def __iter__(self) -> Iterator[Batch]:
        self._drawn = self._rng.bit_generator.state
        rank, size = self._ranks.rank, self._ranks.size
        end = self._plan.of(self._progress.epoch) * size
        left = itertools.islice(self._batches.epoch(self._rng), rank + self._skipped * size, end, size)
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
        """Of what draws batches: as it was when the epoch began, or is between two; and of the batches themselves."""
        under_way = bool(self._progress.batch)
        own = self._batches.state() if isinstance(self._batches, Stateful) and under_way else {}
        return {"drawn": self._drawn if under_way else self._rng.bit_generator.state, "source": own}

    def restore(self, state: dict[str, Any], drawn: list[Tensor]) -> None:
        """Goes on where `state` was asked, at the progress made; `drawn` is of torch."""
        self._rng.bit_generator.state = state["drawn"]
        self._first = (self._progress.epoch, self._progress.batch)
        self._torch = drawn
        if isinstance(self._batches, Stateful):
            self._batches.restore(state["source"])


def _torch_states() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ())]


def _set_torch_states(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[1:])


def _add_up_in_order() -> None:
    """Has threads add gradients to shared rows in a fixed order, which on a CPU costs nothing.

    By default several threads add to the rows of `vectors[places]` as they come: each run rounds otherwise.
    """
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def _switches(threads: int) -> Iterator[None]:
    """So many threads inside; afterwards these, and what `deterministic` and `benchmark` switch, are as before."""
    before, cudnn = torch.get_num_threads(), torch.backends.cudnn
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    tuned, filled = cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        cudnn.benchmark = tuned
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@contextmanager
def _quiet(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Without Lightning's greetings, unless it is asked to tell, and without torch's complaint of how it is called."""
    asked = any(arguments.get(name) for name in ("profiler", "enable_model_summary"))
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO if asked else logging.ERROR)
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
