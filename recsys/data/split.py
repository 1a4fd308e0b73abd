"""Windows of the log: recall | rank | valid | test, and what *as of* means under each way of cutting.

Routes are fitted on `recall`, fusion and rankers on `rank`; settings are chosen on `valid`, numbers reported on `test`.

| kind | as of a request means | causal across users |
|---|---|---|
| `global_time` | nothing later anywhere | yes |
| `per_user`, `leave_last_out` | nothing later of that user | no |
| `random` | training events only, in any order | no |
| `given` | the user's earlier windows | no |
"""

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from recsys.data.tables import WINDOWS
from recsys.errors import DataError, ProtocolError
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
    "assign_windows",
    "check_order",
    "is_causal",
    "protocol",
    "visible",
]

RECALL, RANK, VALID, TEST = 0, 1, 2, 3

Int = NDArray[np.integer]
Windows = NDArray[np.int8]

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


def assign_windows(
    user: Int,
    time: NDArray[np.int64] | None,
    config: SplitConfig,
    rng: np.random.Generator,
    *,
    given: Windows | None = None,
) -> Windows:
    """The window of every event.

    Shares are of events and round down: of n events, `floor(n · share)` fall in each of rank, valid and test, the rest
    in recall. `per_user` counts each user's own events. `global_time` then moves each cut to the earliest event of the
    same moment, so that no two windows share a timestamp and a window may be larger than its share.

    Args:
        user: Codes of the users, shape (N,), events in the total order.
        time: Microseconds, shape (N,); `None` where the order is that of the rows.
        config: How to cut.
        rng: Read by `random` alone.
        given: What the log says, shape (N,); read by `given` alone.

    Returns:
        `RECALL`, `RANK`, `VALID` or `TEST`, shape (N,).

    Raises:
        DataError: No event is left for recall; a given window comes before an earlier one of its user, or none is
            given.
        ProtocolError: `global_time` with times that are not in order.

    Example:
        >>> user = np.zeros(10, dtype=np.int64)
        >>> assign_windows(user, None, PerUserSplit(kind="per_user"), np.random.default_rng(0)).tolist()
        [0, 0, 0, 0, 0, 0, 0, 1, 2, 3]
    """
    match config:
        case GlobalTimeSplit():
            windows = _global_time(len(user), time, config)
        case PerUserSplit():
            windows = _per_user(user, config)
        case LeaveLastOutSplit():
            windows = _leave_last_out(user)
        case RandomSplit():
            windows = _random(len(user), config, rng)
        case GivenSplit():
            windows = _given(user, given)
    if len(windows) and not (windows == RECALL).any():
        raise DataError(
            f"split.{config.kind}: found {len(windows)} events and none of them before the first cut, expected some "
            "for the recall window; use more events or smaller shares"
        )
    return windows


def visible(windows: Windows, config: SplitConfig) -> NDArray[np.bool_]:
    """Which events may ever appear in a history or count as seen, shape (N,).

    All of them where events are in order (a request then sees those before it); under `random` the training events
    alone, since a held-out event may well be older than the request.
    """
    if isinstance(config, RandomSplit):
        return np.asarray(windows <= RANK)
    return np.ones(len(windows), dtype=np.bool_)


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


def _count(n: Int | int, share: float) -> NDArray[np.int64]:
    """floor(n · share), safe against products such as 100 · 0.29 = 28.999999999999996."""
    return np.floor(np.asarray(n) * share + 1e-9).astype(np.int64)


def _global_time(n: int, time: NDArray[np.int64] | None, config: GlobalTimeSplit) -> Windows:
    if time is not None and (np.diff(time) < 0).any():
        raise ProtocolError(
            "split.kind: found global_time over events that are not in time order, expected sorted timestamps; "
            "set data.order: timestamp"
        )
    windows = np.zeros(n, dtype=np.int8)
    start = n
    starts = []
    for share in (config.test, config.valid, config.rank):
        start -= int(_count(n, share))
        starts.append(start)
    for window, cut in zip((RANK, VALID, TEST), reversed(starts), strict=True):
        windows[_moment_start(time, cut) :] = window
    return windows


def _moment_start(time: NDArray[np.int64] | None, index: int) -> int:
    """The first event of the same moment as the event at `index`."""
    if time is None or index >= len(time):
        return index
    return int(np.searchsorted(time, time[index], side="left"))


def _from_end(user: Int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each event, how many events of its user follow it, and how many the user has; both shape (N,)."""
    order = np.argsort(user, kind="stable")
    _, inverse, counts = np.unique(user, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    left = np.empty(len(user), dtype=np.int64)
    left[order] = ends[inverse[order]] - 1 - np.arange(len(user))
    return left, counts[inverse].astype(np.int64)


def _per_user(user: Int, config: PerUserSplit) -> Windows:
    left, n = _from_end(user)
    test = _count(n, config.test)
    valid = test + _count(n, config.valid)
    rank = valid + _count(n, config.rank)
    return _last(left, test, valid, rank)


def _leave_last_out(user: Int) -> Windows:
    left, n = _from_end(user)
    test = np.where(n >= 3, 1, 0)
    valid = np.where(n >= 3, 2, 0)
    rank = np.where(n >= 4, 3, valid)
    return _last(left, test, valid, rank)


def _last(left: NDArray[np.int64], test: Int, valid: Int, rank: Int) -> Windows:
    """The last `test` events are test, those before up to `valid` from the end valid, up to `rank` rank."""
    windows = np.select([left < test, left < valid, left < rank], [TEST, VALID, RANK], RECALL)
    return windows.astype(np.int8)


def _random(n: int, config: RandomSplit, rng: np.random.Generator) -> Windows:
    draws = rng.random(n)
    edges = np.cumsum([config.test, config.valid, config.rank])
    return np.array([TEST, VALID, RANK, RECALL], dtype=np.int8)[np.searchsorted(edges, draws, side="right")]


def _given(user: Int, given: Windows | None) -> Windows:
    if given is None:
        raise DataError("split.given: found no windows in the log, expected data.interactions.window to name a column")
    order = np.argsort(user, kind="stable")
    back = (np.diff(user[order]) == 0) & (np.diff(given[order]) < 0)
    if back.any():
        at = int(order[1:][back][0])
        raise DataError(
            f"split.given: found event {at:,} in the {WINDOWS[given[at]]} window after a later window of its user, "
            f"expected each user's rows in the order {', '.join(WINDOWS)}; sort the log"
        )
    return given
