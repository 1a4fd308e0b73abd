"""Windows of the log: recall | rank | valid | test, and what *as of* means under each way of cutting."""

from typing import Annotated, Literal

from pydantic import Field

from recsys.settings import Settings

__all__ = ["SplitConfig"]

Share = Annotated[float, Field(ge=0, lt=1)]


class _Shares(Settings):
    rank: Share = 0.1
    valid: Share = 0.1
    test: Share = 0.1


class GlobalTimeSplit(_Shares):
    """Cuts the whole log at three moments; the shares are of events. Causal across users."""

    kind: Literal["global_time"]


class PerUserSplit(_Shares):
    """Cuts each user's own events by share, in order. Per user, not causal across users."""

    kind: Literal["per_user"]


class LeaveLastOutSplit(Settings):
    """Each user's last event is test, the one before valid, the one before that rank."""

    kind: Literal["leave_last_out"]


class RandomSplit(_Shares):
    """Each event falls by itself; histories then hold training events only."""

    kind: Literal["random"]


SplitConfig = Annotated[GlobalTimeSplit | PerUserSplit | LeaveLastOutSplit | RandomSplit, Field(discriminator="kind")]
