"""How long a training is."""

import math
from dataclasses import dataclass

from recsys.errors import ConfigError
from recsys.training.config import TrainingConfig

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The length of a run, in batches of one device.

    Attributes:
        batches: of an epoch.
        total: of the whole run; the last epoch may be cut short.
        accumulate: batches a step.
    """

    batches: int
    total: int
    accumulate: int

    @property
    def epochs(self) -> int:
        """Epochs, the last one perhaps cut short."""
        return -(-self.total // self.batches)

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.batches // self.accumulate)

    @property
    def length(self) -> float:
        """Epochs, with the part of one that is cut short."""
        whole, rest = divmod(self.total, self.batches)
        return whole + -(-rest // self.accumulate) / self.steps

    def of(self, epoch: int) -> int:
        """Batches of an epoch, counted from 0."""
        return min(self.batches, self.total - epoch * self.batches)

    def ends_step(self, epoch: int, batch: int) -> bool:
        """Whether a step ends with a batch of an epoch, both counted from 0."""
        return (batch + 1) % self.accumulate == 0 or batch + 1 == self.of(epoch)


def plan(config: TrainingConfig, batches: int, devices: int = 1) -> Plan:
    """How long a run is; `limit_train_batches`, `max_steps` and `fast_dev_run` of `trainer` cut it short.

    Args:
        config: of the run.
        batches: of an epoch, for all devices together.
        devices: each takes a batch a step; the few batches that are left over at the end of an epoch are left out.

    Raises:
        ConfigError: there are fewer batches than devices, or a limit leaves none.

    Example:
        >>> short = plan(TrainingConfig(epochs=9, trainer={"max_steps": 15}), batches=10)
        >>> short.epochs, short.of(1), short.length
        (2, 5, 1.5)
    """
    arguments = config.trainer
    trial = int(_number(arguments.get("fast_dev_run")))
    limit = trial or arguments.get("limit_train_batches")
    each = _limited(batches // devices, limit)
    if each < 1:
        raise ConfigError(
            f"training: found {batches} batches an epoch for {devices} devices, limited to {limit}, expected at "
            "least one batch a device; use fewer devices, a smaller batch_size or a larger limit_train_batches"
        )
    total = each * (1 if trial else config.epochs)
    steps = int(_number(arguments.get("max_steps", -1)))
    if steps >= 0:
        whole, rest = divmod(steps, -(-each // config.accumulate))
        total = min(total, whole * each + min(rest * config.accumulate, each))
    return Plan(each, total, config.accumulate)


def _limited(batches: int, limit: object) -> int:
    """Batches of an epoch under a limit: a number of them, or as a fraction a share, as Lightning has it."""
    if limit is None:
        return batches
    return math.floor(batches * min(limit, 1.0)) if isinstance(limit, float) else min(batches, int(_number(limit)))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
