"""What the settings of all routes share: which logs a route can be fitted on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from recsys.data.config import ColumnKind, TableSide
from recsys.problems import Problem
from recsys.retrieval.config import FlatIndex, IndexConfig
from recsys.settings import Settings

__all__ = ["HistoryFacts", "LogFacts", "RouteSettings", "VectorRouteSettings"]


_PAIR = 2
"""Different items that make a pair."""


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What the rest of the configuration says of the data.

    Attributes:
        ordered: whether a user's events have an order.
        timeless: why no event is older than another, in words; empty where the log has time.
        inputs: names of the model inputs by side.
        columns: kinds of the columns by side and name.
    """

    ordered: bool
    timeless: str
    inputs: Mapping[TableSide, list[str]]
    columns: Mapping[TableSide, Mapping[str, ColumnKind]]


@dataclass(frozen=True, slots=True)
class HistoryFacts:
    """What the positive events of the recall window offer to learn from.

    Attributes:
        users: with an event.
        most_events: of one user.
        most_items: different items of one user.
        most_items_of_log: the same in all windows.
        most_frequent: events of the item that has most.
    """

    users: int
    most_events: int
    most_items: int
    most_items_of_log: int
    most_frequent: int


class RouteSettings(Settings):
    """Settings of a route; a subclass says by class variables what it asks of the log."""

    distance_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that weigh events by distance: 1 turns them off, and is the default and only choice without order."""
    age_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that weigh events by age: `null` turns them off, and is the default and only choice without time."""
    needs_time: ClassVar[bool] = False
    """Whether the route is nothing without time."""
    pairs_items: ClassVar[bool] = False
    """Whether all that the route learns from are users with two different items."""
    stops_without_pairs: ClassVar[bool] = False
    """Whether it cannot be fitted without them; else it is fitted, and finds nothing."""
    reads_items: ClassVar[bool] = False
    """Whether the route reads the items table itself, not only the features made of it."""

    def files(self) -> tuple[Path, ...]:
        """Files and folders of the user's that the route reads when it is fitted."""
        return ()

    def for_log(self, log: LogFacts) -> Self:
        """The same with the defaults that a route of this kind has on this log, so that its name alone is enough."""
        return self.with_defaults(self.log_defaults(log))

    def log_defaults(self, log: LogFacts) -> dict[str, object]:
        """Defaults that differ from those of the class on this log."""
        distances = {} if log.ordered else dict.fromkeys(self.distance_settings, 1.0)
        ages = dict.fromkeys(self.age_settings) if log.timeless else {}
        return {**distances, **ages}

    def problems(self, log: LogFacts) -> Iterator[Problem]:
        """What is wrong with this route on this log; places are keys of these settings."""
        if not log.ordered:
            yield from self._order_problems()
        if log.timeless:
            yield from self._age_problems(log.timeless)

    def stopping(self, facts: HistoryFacts) -> Iterator[Problem]:
        """Why the route cannot be fitted on these histories."""
        if self.stops_without_pairs:
            yield from self._pair_problems(facts)

    def idle(self, facts: HistoryFacts) -> Iterator[Problem]:
        """Why the route will learn nothing from these histories, though it can be fitted."""
        if not self.stops_without_pairs:
            yield from self._pair_problems(facts)

    def _pair_problems(self, facts: HistoryFacts) -> Iterator[Problem]:
        if not self.pairs_items or facts.most_items >= _PAIR:
            return
        kind = getattr(self, "kind")  # noqa: B009  every subclass has it
        if facts.most_items_of_log >= _PAIR:
            whose = "in the recall window of the split, no user"
            then = "leave it more events: a split of kind global_time or random, or smaller shares"
        else:
            whose = "in the whole log, no user"
            then = "use routes that do without: popular, or bm25 or tfidf where items have texts"
        yield Problem(
            f"found {kind}, which learns from users with two different items, but {whose} has more than one "
            f"({facts.users:,} users have events); {then}",
            at=("kind",),
        )

    def order_reason(self) -> str:
        """Why the route is nothing without order, as the middle of a sentence; empty where it is something."""
        return ""

    def _order_problems(self) -> Iterator[Problem]:
        reason = self.order_reason()
        if reason:
            kind = getattr(self, "kind")  # noqa: B009  every subclass has it
            yield Problem(
                f"found {kind}, but data.order is none: {reason}; "
                "set data.order: row if the rows are in order, or use itemcf or popular",
                at=("kind",),
                protocol=True,
            )
        for setting in self.distance_settings:
            value = getattr(self, setting)
            if value != 1:
                yield Problem(
                    f"found {value:g}, expected 1: data.order is none, so no event is nearer than another",
                    at=(setting,),
                    protocol=True,
                )

    def _age_problems(self, timeless: str) -> Iterator[Problem]:
        if self.needs_time:
            kind = getattr(self, "kind")  # noqa: B009  every subclass has it
            what = f"found {kind}, but {timeless}: no event is older than another; use popular"
            yield Problem(what, at=("kind",), protocol=True)
        for setting in self.age_settings:
            value = getattr(self, setting)
            if value is not None:
                yield Problem(
                    f"found {value:g}, expected null: {timeless}, so no event is older than another",
                    at=(setting,),
                    protocol=True,
                )


class VectorRouteSettings(RouteSettings):
    """What routes share that find items by vectors."""

    index: IndexConfig = FlatIndex(kind="flat")
    """How the vectors are searched: exactly, by a structure of your choice, or `auto`."""
