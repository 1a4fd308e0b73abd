"""Settings of the routes with one list for everybody."""

from typing import Literal

from pydantic import PositiveFloat

from recsys.recall.settings.base import RouteSettings

__all__ = ["PopularConfig"]


class PopularConfig(RouteSettings):
    """Most popular items, recent events weighing more."""

    age_settings = ("half_life_days",)

    kind: Literal["popular"]
    half_life_days: PositiveFloat | None = 30.0
    """An event this old counts half; `null`: plain counts, and the only choice for a log without order or time."""
