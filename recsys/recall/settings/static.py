"""Settings of the routes with one list for everybody."""

from collections.abc import Iterator
from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from recsys.problems import Problem, unknown
from recsys.recall.settings.base import LogFacts, RouteSettings

__all__ = ["FreshConfig", "PopularConfig", "SegmentPopularConfig", "TrendingConfig"]


class PopularConfig(RouteSettings):
    """Most popular items, recent events weighing more."""

    age_settings = ("half_life_days",)

    kind: Literal["popular"]
    half_life_days: PositiveFloat | None = 30.0
    """An event this old counts half; `null`: plain counts, the default and the only choice for a log without order or
    time."""


class FreshConfig(RouteSettings):
    """Items that are new, the newest first."""

    needs_time = True

    kind: Literal["fresh"]
    max_age_days: PositiveFloat = 30.0
    """Items whose first event is older are not returned."""
    min_events: PositiveInt = 1
    """Items with fewer events are not returned."""


class TrendingConfig(RouteSettings):
    """Items that are asked for more than they used to be."""

    needs_time = True

    kind: Literal["trending"]
    days: PositiveFloat = 3.0
    """Length of the window that counts as now."""
    baseline_days: PositiveFloat = 30.0
    """Length of the window before it that says what was to be expected."""
    smoothing: PositiveFloat = 5.0
    """Events added to what was expected: the larger, the less a rare item's first events count."""


class SegmentPopularConfig(RouteSettings):
    """What is most popular among users like this one."""

    age_settings = ("half_life_days",)

    kind: Literal["segment_popular"]
    field: str
    """A categorical user feature; users who share its value share a list. Unknown values get everybody's list."""
    half_life_days: PositiveFloat | None = 30.0
    """An event this old counts half; `null`: plain counts, the default and the only choice for a log without order or
    time."""
    prior: NonNegativeFloat = 10.0
    """Events of everybody's list mixed into each list, so that small segments do not follow chance."""
    length: PositiveInt = 1000
    """Items kept of each list."""

    def problems(self, log: LogFacts) -> Iterator[Problem]:
        """See `RouteSettings`; also a field that is not there."""
        yield from super().problems(log)
        if self.field not in log.inputs["user"]:
            yield Problem(unknown(self.field, log.inputs["user"], noun="field of features.user"), at=("field",))
