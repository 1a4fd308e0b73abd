"""How the learning rate changes over a run."""

import math
from collections.abc import Callable
from typing import Any

from recsys.training.config import (
    ConstantSchedule,
    CosineSchedule,
    CyclicSchedule,
    ExponentialSchedule,
    OneCycleSchedule,
    PlateauSchedule,
    ScheduleConfig,
    StepSchedule,
)

__all__ = ["RateSchedule", "rate_share"]


def rate_share(config: ScheduleConfig, epoch: float, epochs: float) -> float:
    """Share of the largest learning rate, without what a plateau takes off.

    Args:
        config: the schedule.
        epoch: epochs done, with the part of the present one, from 0.
        epochs: of the whole run.

    Example:
        >>> [rate_share(CosineSchedule(warmup=0.25), epoch, 4) for epoch in (0, 2)]
        [0.0, 0.5]
    """
    done = min(epoch / epochs, 1.0)
    rise = min(done / config.warmup, 1.0) if config.warmup else 1.0
    return rise * _SHARES[type(config)](config, epoch, done)


class RateSchedule:
    """The share of the learning rate at every step of a run.

    Args:
        config: the schedule.
        epochs: of the whole run.
        steps: an epoch.
    """

    def __init__(self, config: ScheduleConfig, epochs: float, steps: int) -> None:
        self._config, self._epochs, self._steps = config, epochs, steps
        self._left = 1.0
        self._best = -math.inf
        self._waited = 0

    def share(self, step: int) -> float:
        """Of the step, from 0."""
        return self._left * rate_share(self._config, step / self._steps, self._epochs)

    def judged(self, figure: float) -> None:
        """Takes the figure of an epoch, the higher the better."""
        if not isinstance(self._config, PlateauSchedule):
            return
        if figure > self._best:
            self._best, self._waited = figure, 0
            return
        self._waited += 1
        if self._waited > self._config.patience:
            self._left, self._waited = self._left * self._config.factor, 0

    def state(self) -> dict[str, float]:
        """What `restore` takes."""
        return {"left": self._left, "best": self._best, "waited": self._waited}

    def restore(self, state: dict[str, float]) -> None:
        """Goes on where `state` was asked."""
        self._left, self._best, self._waited = state["left"], state["best"], int(state["waited"])


def _constant(_: Any, __: float, ___: float) -> float:  # noqa: ANN401
    return 1.0


def _cosine(config: CosineSchedule, _: float, done: float) -> float:
    return _fall(1.0, config.last, done)


def _step(config: StepSchedule, epoch: float, _: float) -> float:
    return float(config.factor ** (math.floor(epoch) // config.epochs))


def _exponential(config: ExponentialSchedule, epoch: float, _: float) -> float:
    return float(config.factor ** math.floor(epoch))


def _cyclic(config: CyclicSchedule, epoch: float, _: float) -> float:
    place = epoch / config.epochs % 1.0
    return config.low + (1 - config.low) * (1 - abs(2 * place - 1))


def _one_cycle(config: OneCycleSchedule, _: float, done: float) -> float:
    if done < config.rising:
        return _fall(config.first, 1.0, done / config.rising)
    return _fall(1.0, config.last, (done - config.rising) / (1 - config.rising))


def _fall(start: float, end: float, done: float) -> float:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))


_SHARES: dict[type, Callable[[Any, float, float], float]] = {
    ConstantSchedule: _constant,
    CosineSchedule: _cosine,
    StepSchedule: _step,
    ExponentialSchedule: _exponential,
    CyclicSchedule: _cyclic,
    OneCycleSchedule: _one_cycle,
    PlateauSchedule: _constant,
}
