"""What a simulated world is like: its size, and how strong each part of its truth is."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

from recsys.errors import InputError
from recsys.problems import unknown

__all__ = ["World"]

_MOST_USERS, _MOST_ITEMS = 1_000_000, 100_000


@dataclass(frozen=True, slots=True)
class World:
    """The parameters of a simulated world; `docs/simulated-world.md` has the formulas they stand in.

    Attributes:
        events: Rows of the log: one for each item shown in a request.
        users: Users in all, newcomers included.
        items: Items in all, newcomers included.
        days: Days of the log, one file each; the last one is the test window of the configuration that is written.
        seed: Of all randomness; the same parameters give the same bytes on the same machine.
        start: The first day, in UTC.
        list_length: Items shown in a request.
        categories: Categories of items, at least 2.
        dimensions: Of tastes and of the items' vectors.
        newcomers: Share of users and items that appear after the first day.
        click_rate: Clicks per event that the offset is set for.
        popularity: Odds of a click fall with the popularity rank to this power.
        freshness: Added to the utility of an item on its first day.
        freshness_days: Days until a factor `e` less of that is left.
        taste: Standard deviation of the latent taste's share of the utility.
        drift: Radians a taste turns in a day; tastes `n` days apart correlate as `cos(n · drift)`.
        cross: Standard deviation of segment × category.
        price_cross: Weight of age × price.
        parity: Weight of country × age × price, each ±1.
        session: Utility of a category's successor after a click in the category.
        session_decay: What is left of that after each further request, in [0, 1).
        position_bias: Position `k` is examined with probability `k ** -position_bias`.
        policy_quality: How much of popularity and taste the logging policy knows; 0 shows what it draws.
        policy_candidates: Items drawn by popularity, and as many by taste, for each request.
        requests_per_session: On average; more where the users are too few for the events.
        oracle_users: Users of the last day whose best lists are written.
        oracle_length: Items of such a list.
    """

    events: int
    users: int
    items: int
    days: int = 30
    seed: int = 42
    start: date = date(2026, 1, 1)
    list_length: int = 10
    categories: int = 16
    dimensions: int = 16
    newcomers: float = 0.3
    click_rate: float = 0.1
    popularity: float = 0.3
    freshness: float = 0.5
    freshness_days: float = 3.0
    taste: float = 1.5
    drift: float = 0.03
    cross: float = 1.0
    price_cross: float = 0.6
    parity: float = 0.5
    session: float = 2.0
    session_decay: float = 0.7
    position_bias: float = 0.7
    policy_quality: float = 0.5
    policy_candidates: int = 10
    requests_per_session: float = 3.0
    oracle_users: int = 10_000
    oracle_length: int = 100

    @classmethod
    def of(cls, events: int, *, users: int | None = None, items: int | None = None, **others: Any) -> Self:  # noqa: ANN401  as the fields are typed
        """A world with as many users (a hundredth of the events) and items (a 250th) as suit its events.

        Raises:
            InputError: A parameter is outside its range.
        """
        fitting_users = min(max(events // 100, 20), _MOST_USERS)
        fitting_items = min(max(events // 250, 100), _MOST_ITEMS)
        return cls(
            events=events,
            users=fitting_users if users is None else users,
            items=fitting_items if items is None else items,
            **others,
        )

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not (low <= value <= high and math.isfinite(value)):
                raise InputError(f"world: {name}: found {value:,}, expected a number from {low:,} to {high:,}")
        if self.events < self.days * self.list_length:
            raise InputError(
                f"world: events: found {self.events:,}, expected at least {self.days * self.list_length:,}: a request "
                f"of {self.list_length} items on each of {self.days} days; ask for more events or fewer days"
            )
        if self.first_items < self.list_length:
            raise InputError(
                f"world: items: found {self.items:,}, {self.first_items} of them on the first day; expected at least "
                f"{self.list_length} then, to fill a list; ask for more items or fewer newcomers"
            )

    @property
    def first_users(self) -> int:
        """Users there from the first day on."""
        return self._there_at_first(self.users)

    @property
    def first_items(self) -> int:
        """Items there from the first day on."""
        return self._there_at_first(self.items)

    @property
    def requests(self) -> int:
        """Requests in all; the last one may be cut short."""
        return -(-self.events // self.list_length)

    @property
    def midnight(self) -> datetime:
        """When the log begins."""
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)

    def requests_before(self, day: int) -> int:
        """Requests before this day: all days have as many, give or take one."""
        return self.requests * day // self.days

    def events_before(self, day: int) -> int:
        """Events before this day."""
        return min(self.requests_before(day) * self.list_length, self.events)

    def time(self, day: int) -> datetime:
        """When a day begins; day 0 is `start`."""
        return self.midnight + timedelta(days=day)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {**asdict(self), "start": self.start.isoformat()}

    @classmethod
    def parse(cls, settings: Iterable[str]) -> dict[str, Any]:
        """Parameters from `NAME=VALUE`, in the type of their field.

        Raises:
            InputError: There is no such parameter, or the text is none of its values.
        """
        types: dict[str, Any] = {field.name: field.type for field in fields(cls)}
        return dict(_parsed(setting, types) for setting in settings)

    def _there_at_first(self, count: int) -> int:
        return count if self.days == 1 else count - int(count * self.newcomers)


_RANGES: dict[str, tuple[float, float]] = {
    "events": (1, 10**9),
    "users": (1, 10**7),
    "items": (1, 10**7),
    "days": (1, 3650),
    "seed": (0, 2**63 - 1),
    "list_length": (1, 100),
    "categories": (2, 256),
    "dimensions": (2, 256),
    "newcomers": (0, 0.99),
    "click_rate": (0.001, 0.5),
    "popularity": (0, 10),
    "freshness": (0, 10),
    "freshness_days": (0.1, 1000),
    "taste": (0, 10),
    "drift": (0, 3.14),
    "cross": (0, 10),
    "price_cross": (0, 10),
    "parity": (0, 10),
    "session": (0, 10),
    "session_decay": (0, 0.99),
    "position_bias": (0, 5),
    "policy_quality": (0, 10),
    "policy_candidates": (0, 1000),
    "requests_per_session": (1, 1000),
    "oracle_users": (0, 10**7),
    "oracle_length": (1, 10_000),
}


def _parsed(setting: str, types: Mapping[str, Any]) -> tuple[str, int | float | date]:
    name, equals, text = setting.partition("=")
    if not equals:
        raise InputError(f"--set {setting}: expected NAME=VALUE, such as --set drift=0.1")
    if name not in types:
        raise InputError(f"--set {name}: {unknown(name, types, noun='parameter of a world')}")
    kind = types[name]
    try:
        return name, date.fromisoformat(text) if kind is date else kind(text)
    except ValueError:
        expected = {int: "a whole number", float: "a number", date: "a day such as 2026-01-31"}[kind]
        raise InputError(f"--set {name}: found {text!r}, expected {expected}") from None
