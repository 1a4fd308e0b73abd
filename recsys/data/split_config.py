"""Settings of the split, and what follows from them alone; `recsys.data.split` cuts the log."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from recsys.errors import ProtocolError
from recsys.settings import Settings

__all__ = [
    "RANK",
    "RECALL",
    "TEST",
    "VALID",
    "GivenSplit",
    "GlobalTimeSplit",
    "LeaveLastOutSplit",
    "PerUserSplit",
    "RandomSplit",
    "SplitConfig",
    "check_order",
    "is_causal",
    "protocol",
]

RECALL, RANK, VALID, TEST = 0, 1, 2, 3

Share = Annotated[float, Field(ge=0, lt=1)]


class _Shares(Settings):
    rank: Share = 0.1
    """Share that teaches fusion and ranker, on candidates of routes that have not seen it."""
    valid: Share = 0.1
    """Share that settings are chosen on."""
    test: Share = 0.1
    """Share that is reported."""

    @model_validator(mode="after")
    def _leaves_recall(self) -> Self:
        total = self.rank + self.valid + self.test
        if total >= 1:
            raise ValueError(f"rank + valid + test is {total:g}; expected less than 1, so that recall keeps events")
        return self


class GlobalTimeSplit(_Shares):
    """Cuts the whole log at three moments; the shares are of events. Causal across users."""

    kind: Literal["global_time"]


class PerUserSplit(_Shares):
    """Cuts each user's own events by share, in order. Per user, not causal across users."""

    kind: Literal["per_user"]


class LeaveLastOutSplit(Settings):
    """Each user's last event is test, the one before valid, the one before that rank.

    Recall always keeps one event: a user with three events has none in rank, with fewer than three all are recall.
    """

    kind: Literal["leave_last_out"]


class RandomSplit(_Shares):
    """Each event falls by itself; histories then hold training events only."""

    kind: Literal["random"]


class GivenSplit(Settings):
    """The log says itself which window an event belongs to (`data.interactions.window`): a published split.

    A user's rows have to stand in the order of the windows, so that a request sees all the windows before its own.
    """

    kind: Literal["given"]


SplitConfig = Annotated[
    GlobalTimeSplit | PerUserSplit | LeaveLastOutSplit | RandomSplit | GivenSplit, Field(discriminator="kind")
]


def _cut(config: SplitConfig) -> str:
    if not isinstance(config, GlobalTimeSplit | RandomSplit):
        return "windows as given"
    shares = f"rank {config.rank:g}, valid {config.valid:g}, test {config.test:g}"
    return f"cut at {'random' if isinstance(config, RandomSplit) else 'moments in time'} ({shares})"


def check_order(config: SplitConfig, order: Literal["timestamp", "row", "none"]) -> None:
    """Refuses a split that needs an order the log does not have.

    Raises:
        ProtocolError: The order is `none` and the split is neither `random` nor `given`.
    """
    if order == "none" and not isinstance(config, RandomSplit | GivenSplit):
        raise ProtocolError(
            f"split.kind: found {config.kind} with data.order: none, expected random; "
            "give the log a timestamp, or set data.order: row if its rows are in order"
        )


def is_causal(config: SplitConfig) -> bool:
    """Whether no event of a window is later than an event of the next, across all users."""
    return isinstance(config, GlobalTimeSplit)


def protocol(config: SplitConfig, *, rows_only: bool = False) -> str:
    """One line for the report: how the log was cut and what that means.

    Args:
        config: how the log was cut.
        rows_only: whether rows are scored by their own columns, so that no request sees another row.
    """
    if rows_only:
        return f"rows by themselves, {_cut(config)}"
    if isinstance(config, LeaveLastOutSplit):
        return "leave last out: per-user, not causal across users"
    if isinstance(config, GivenSplit):
        return "windows as given in the log: per-user, not causal across users"
    shares = f"rank {config.rank:g}, valid {config.valid:g}, test {config.test:g}"
    match config:
        case GlobalTimeSplit():
            return f"global time cut ({shares}): causal across users"
        case PerUserSplit():
            return f"per-user in order ({shares}): per-user, not causal across users"
        case RandomSplit():
            return f"random ({shares}): not causal; histories hold training events only"
