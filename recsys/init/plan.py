"""How much of the pipeline a log can feed: split, routes, fusion, ranker and their sizes, each with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.split import assign_windows
from recsys.data.split_config import (
    RANK,
    RECALL,
    TEST,
    VALID,
    GlobalTimeSplit,
    LeaveLastOutSplit,
    PerUserSplit,
    RandomSplit,
    SplitConfig,
)
from recsys.errors import DataError, InputError
from recsys.init.objective import Objective

__all__ = ["Facts", "Plan", "make_plan"]

_KS = (5, 10, 20, 50, 100)
_DEPTH = 200
_DAY = 86_400_000_000
_SHARES = {"rank": 0.1, "valid": 0.1, "test": 0.1}
_WINDOWS = {"rank": RANK, "valid": VALID, "test": TEST}

_ENOUGH = 50
"""Requests of the rank window that can teach a ranker."""
_SOME = 20
"""Requests of the rank window that can teach fusion its weights, or rows of each class an early stop."""
_MOST_FOR_EASE = 10_000
"""Items in the rows looked at, above which a route by item matrix takes more memory than a first run should."""
_MIN_HISTORY = 3
"""Events before the one to predict that the two-tower asks for."""

Mapped = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """The rows looked at, as numbers.

    Attributes:
        user: Codes of the users, shape (N,).
        item: Codes of the items, shape (N,).
        time: Microseconds, shape (N,); `None` where there is no time.
        positive: Which rows are positives, shape (N,).
        rows: How many rows the whole log has, about.
        users: How many users the whole log has, about.
        items: Items of log and items table looked at.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64] | None
    positive: NDArray[np.bool_]
    rows: int
    users: int
    items: int

    @property
    def scale(self) -> float:
        """How many times larger the whole log is."""
        return max(self.rows / max(len(self.user), 1), 1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Sections of the configuration, and by section the reason."""

    order: Literal["timestamp", "none"]
    split: Mapped
    routes: dict[str, Mapped]
    fusion: Mapped
    ranking: Mapped | None
    policy: Mapped
    refit: str
    evaluation: Mapped
    why: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Cut:
    """What a split makes of the rows looked at.

    Attributes:
        split: How it cuts.
        requests: Users with something left to find, by window.
        positives: Events by window.
        negatives: Rows without the label, by window.
        warm: Share of the test window's users with an event before.
        learnable: Events of recall with enough before them for the two-tower.
    """

    split: SplitConfig
    requests: Mapping[str, int]
    positives: Mapping[str, int]
    negatives: Mapping[str, int]
    warm: float
    learnable: int


def make_plan(facts: Facts, objective: Objective) -> Plan:
    """Settings that the log can feed.

    Raises:
        InputError: Nothing could be held back for a test, or there is but one item.
    """
    if facts.items < 2:
        raise InputError("found one item, expected at least two: there is nothing to choose between")
    if not facts.positive.any():
        raise InputError(f"found no row whose {objective.label} reaches {objective.at_least:g}, expected positives")
    repeats = _repeats(facts)
    again = repeats > 0.3
    cut, why_split = _choose_cut(facts, objective, again=again)
    routes, why_routes = _routes(facts, cut)
    ranking, why_ranking = _ranking(facts, objective, cut)
    fitted = len(routes) > 1 and cut.requests["rank"] >= _SOME
    split = {"kind": cut.split.kind, **cut.split.model_dump(mode="json")}
    if not fitted and (ranking is None or ranking["samples"]["kind"] == "events") and "rank" in split:
        # Nobody would learn from the rank window: its events belong to the routes.
        split["rank"] = 0
    depth = min(_DEPTH, facts.items)
    fusion = {"weights": "fitted" if fitted else "equal", "per_route": depth, "candidates": depth}
    why_policy = f"{repeats:.0%} of the events are of something the user had before"
    return Plan(
        order="none" if facts.time is None else "timestamp",
        split=split,
        routes=routes,
        fusion=fusion,
        ranking=ranking,
        policy={"exclude_seen": "never" if again else "always"},
        refit="recall",
        evaluation={"ks": [k for k in _KS if k <= depth] or [depth]},
        why={
            "split": why_split,
            "routes": why_routes,
            "ranking": why_ranking,
            "policy": why_policy + (": it may be recommended again" if again else ": it is not recommended again"),
            "fusion": "weights are learnt on the rank window" if fitted else "too few requests to learn weights from",
        },
    )


def _repeats(facts: Facts) -> float:
    """The share of positives that are of an item the user had before."""
    return 1 - float(_first(facts.user[facts.positive], facts.item[facts.positive]).mean())


def _first(user: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each pair of user and item is new."""
    return ~pd.DataFrame({"user": user, "item": item}).duplicated().to_numpy()


def _choose_cut(facts: Facts, objective: Objective, *, again: bool) -> tuple[_Cut, str]:
    """The most honest split that leaves enough to learn from and to test on."""
    if facts.time is None:
        cut = _cut(facts, _at_random(facts), again=again)
        return _tested(cut, facts), "without time nothing comes before anything: events fall into the windows at random"
    tried = [
        _cut(facts, split, again=again)
        for split in (
            GlobalTimeSplit(kind="global_time", **_SHARES),
            PerUserSplit(kind="per_user", **_SHARES),
            LeaveLastOutSplit(kind="leave_last_out"),
            _at_random(facts),
        )
    ]
    by_time, by_share, last, random = tried
    users = len(np.unique(facts.user[facts.positive]))
    if by_time is not None and _holds(by_time, objective, facts.scale):
        return by_time, "cut at moments, as in service: nothing later than a request is known to anyone"
    few = ""
    if by_time is not None:
        few = (
            f"; a cut at one moment leaves {by_time.requests['test']:,} users to test, {by_time.warm:.0%} of them "
            "known before"
        )
    if by_share is not None and by_share.requests["test"] >= 0.5 * users:
        return by_share, f"each user's own last events are held back{few}"
    if last is not None and last.requests["test"] >= 0.3 * users and objective.kind != "impressions":
        return last, f"users have few events: the last one of each is the test{few}"
    best = max((cut for cut in tried if cut is not None), key=lambda cut: cut.requests["test"], default=random)
    return _tested(best, facts), "the split that leaves most to test; there is not much"


def _at_random(facts: Facts) -> RandomSplit:
    """A random split whose test window is sure to hold something, if there are events enough."""
    few = int(facts.positive.sum()) < 100
    return RandomSplit(kind="random", **({"rank": 0.0, "valid": 0.1, "test": 0.3} if few else _SHARES))


def _holds(cut: _Cut, objective: Objective, scale: float) -> bool:
    """Whether a cut at moments leaves enough to judge by, of users that are known (in all rows more are)."""
    if cut.warm < 0.3 / min(scale, 10.0):
        return False
    if objective.kind == "impressions":
        # Cut by user, the rows of one list would fall into different windows: few users are the lesser evil.
        return _least_class(cut) >= _SOME and cut.requests["test"] >= _SOME / 2
    return min(cut.requests.values()) >= 2 * _ENOUGH


def _least_class(cut: _Cut) -> int:
    """Rows of the rarer class in the windows that a ranker of labelled rows is judged by."""
    return min(rows[window] for rows in (cut.positives, cut.negatives) for window in ("valid", "test"))


def _tested(cut: _Cut | None, facts: Facts) -> _Cut:
    # Of twenty events at random, it would happen once in a thousand that three tenths are none.
    unlucky = cut is not None and cut.split.kind == "random" and int(facts.positive.sum()) < 20
    if cut is None or unlucky or not cut.requests["test"]:
        raise InputError(
            f"found {len(facts.user):,} events of {len(np.unique(facts.user)):,} users on {facts.items:,} items, too "
            "few to hold any back for a test; expected some users with three events or more"
        )
    return cut


def _cut(facts: Facts, split: SplitConfig, *, again: bool) -> _Cut | None:
    """Tries a split on the rows looked at; `None` where it leaves nothing to learn from."""
    order = np.arange(len(facts.user)) if facts.time is None else np.argsort(facts.time, kind="stable")
    user, item, positive = facts.user[order], facts.item[order], facts.positive[order]
    time = None if facts.time is None else facts.time[order]
    try:
        windows = assign_windows(user, time, split, np.random.default_rng(0))
    except DataError:
        return None
    if not (positive & (windows == RECALL)).any():
        return None
    fresh = np.zeros(len(user), dtype=np.bool_)
    fresh[np.flatnonzero(positive)] = again | _first(user[positive], item[positive])
    before = np.unique(user[positive & (windows < TEST)])
    tested = np.unique(user[fresh & (windows == TEST)])
    counts = np.bincount(user[positive & (windows == RECALL)])
    return _Cut(
        split=split,
        requests={name: len(np.unique(user[fresh & (windows == window)])) for name, window in _WINDOWS.items()},
        positives={name: int((positive & (windows == window)).sum()) for name, window in _WINDOWS.items()},
        negatives={name: int((~positive & (windows == window)).sum()) for name, window in _WINDOWS.items()},
        warm=float(np.isin(tested, before).mean()) if len(tested) else 0.0,
        learnable=int(np.maximum(counts - _MIN_HISTORY, 0).sum()),
    )


def _routes(facts: Facts, cut: _Cut) -> tuple[dict[str, Mapped], str]:
    if facts.time is None:
        routes: dict[str, Mapped] = {
            "popular": {"kind": "popular", "half_life_days": None},
            "itemcf": {"kind": "itemcf", "distance_decay": 1, "query_decay": 1},
            **_ease(facts),
        }
        return routes, "without order no decay, and no two-tower, which learns the next item from those before"
    routes = {
        "popular": {"kind": "popular", "half_life_days": _half_life(facts.time)},
        "itemcf": {"kind": "itemcf"},
        **_ease(facts, query_decay=0.97),
    }
    learnable = max(cut.learnable, _elsewhere(facts))
    if learnable < 10 * _ENOUGH:
        return routes, f"{learnable:,} events with {_MIN_HISTORY} before them are too few for a two-tower"
    dim, small = (16 if facts.rows < 50_000 else 32 if facts.rows < 1_000_000 else 64), learnable < 20_000
    training: Mapped = {"epochs": 10 if small else 6, "batch_size": 128 if small else 1024, "threads": 1}
    routes["dssm"] = {"kind": "dssm", "embedding_dim": dim, "training": training}
    return routes, "what is popular, what goes with what, and a two-tower over history and features"


def _ease(facts: Facts, **settings: float) -> dict[str, Mapped]:
    """A regression of every item on all the others, where the matrix of them all is small enough to be inverted."""
    return {"ease": {"kind": "ease", **settings}} if facts.items <= _MOST_FOR_EASE else {}


def _elsewhere(facts: Facts) -> int:
    """About how many events of the whole log have enough before them, where only a part of it was looked at."""
    if facts.scale < 2:
        return 0
    recall = (1 - sum(_SHARES.values())) * facts.rows * float(facts.positive.mean())
    return int(max(recall - _MIN_HISTORY * facts.users, 0))


def _half_life(time: NDArray[np.int64]) -> float | None:
    """A quarter of the time the log spans, a month at most."""
    days = float(time.max() - time.min()) / _DAY / 4
    return float(f"{min(days, 30.0):.2g}") if days > 1e-3 else None


def _ranking(facts: Facts, objective: Objective, cut: _Cut) -> tuple[Mapped | None, str]:
    dim = 8 if facts.rows < 200_000 else 16
    model = {"kind": "deepfm", "embedding_dim": dim, "hidden": [64, 32]}
    if objective.kind == "impressions":
        least = _least_class(cut)
        if least >= _SOME:
            training = {"epochs": 5, "batch_size": 256 if facts.rows < 50_000 else 1024, "threads": 1}
            why = (
                "the labelled rows themselves, positive and negative; should the report find the funnel worse than "
                "fusion, `kind: candidates` learns from what the routes find instead"
            )
            return {"model": model, "samples": {"kind": "events"}, "loss": "bce", "training": training}, why
        return None, f"no ranker: {least:,} rows of one class in a window are too few to judge it by"
    if cut.requests["rank"] < _ENOUGH or cut.requests["valid"] < _SOME:
        return None, f"no ranker: {cut.requests['rank']:,} requests in the rank window are too few to teach one"
    training = {"epochs": 8, "batch_size": 32, "threads": 1}
    samples = {"kind": "candidates", "candidate_negatives": min(50, facts.items)}
    return {"model": model, "samples": samples, "loss": "bce", "training": training}, (
        "each request of the rank window: what was chosen, against other candidates"
    )
