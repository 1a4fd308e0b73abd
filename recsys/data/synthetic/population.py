"""Who and what there is: users and items, drawn once, with the truth about them in vectors.

The long-term part of every utility is an inner product, `user · item`, over the columns

| columns | user | item |
|---|---|---|
| 1 | 1 | popularity and freshness of the day |
| `dimensions` | taste of the day | place in the space of tastes |
| `categories` | what the segment makes of each category | share of each category |
| 1 | age | price |
| 1 | country × age | price |

The first two blocks are the *plain* part, all that the logging policy knows of; the rest is the *crossed* part.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.data.synthetic.world import World

__all__ = ["AGES", "COUNTRIES", "SEGMENTS", "Floats", "Indices", "Items", "Users", "draw_items", "draw_users", "stream"]

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]

AGES = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
_YEARS = np.array([18, 25, 35, 45, 55, 65, 80])
COUNTRIES = ("AT", "BE", "CH", "DE", "ES", "FR", "IT", "NL")
SEGMENTS = ("bargain", "family", "gift", "premium", "student", "trade")
_OLDEST = 60  # days before the log in which the first users and items appeared
_USERS, _ITEMS, _SEGMENTS = 1, 2, 3


def stream(world: World, *place: int) -> np.random.Generator:
    """A generator for one place of the simulation, so that no draw depends on how the work is cut up."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([world.seed, *place])))


@dataclass(frozen=True, slots=True)
class Users:
    """All users, in the order in which they appear.

    Attributes:
        born: `(U,)` day of appearance, ascending; 0 or less for those there from the start.
        age, age_bucket, country, segment: `(U,)` what the table of users says.
        activity: `(U,)` how often they come, relative to each other.
        before, after: `(U, D)` tastes on day 0, and a quarter turn later.
        crossed: `(U, C + 2)` the crossed part of their vectors.
    """

    born: NDArray[np.int64]
    age: Indices
    age_bucket: Indices
    country: Indices
    segment: Indices
    activity: NDArray[np.float64]
    before: Floats
    after: Floats
    crossed: Floats

    def plain(self, world: World, users: NDArray[np.integer], day: int) -> Floats:
        """`(n, 1 + D)` the plain part of users' vectors on a day."""
        angle = world.drift * day
        turned = np.float32(np.cos(angle)) * self.before[users] + np.float32(np.sin(angle)) * self.after[users]
        return np.concatenate([np.ones((len(users), 1), np.float32), turned], axis=1)


@dataclass(frozen=True, slots=True)
class Items:
    """All items, in the order in which they appear.

    Attributes:
        born: `(I,)` day of appearance, ascending; 0 or less for those there from the start.
        category: `(I,)` the main one.
        second: `(I,)` another one, or −1.
        price: `(I,)` two decimals.
        log_rank: `(I,)` `log(I / rank)` by popularity, 0 for the least popular.
        place: `(I, D)` unit vectors, near those of their categories.
        crossed: `(I, C + 2)` the crossed part of their vectors.
        centres: `(C, D)` where categories lie in the space of tastes.
    """

    born: NDArray[np.int64]
    category: Indices
    second: Indices
    price: NDArray[np.float64]
    log_rank: Floats
    place: Floats
    crossed: Floats
    centres: Floats

    def there(self, day: int) -> int:
        """How many items exist on a day: the first so many."""
        return int(np.searchsorted(self.born, day, side="right"))

    def plain(self, world: World, day: int) -> Floats:
        """`(n, 1 + D)` the plain part of the vectors of items that exist on a day."""
        n = self.there(day)
        fresh = world.freshness * np.exp((self.born[:n] - day) / world.freshness_days)
        liked = world.popularity * self.log_rank[:n] + fresh
        return np.concatenate([liked.astype(np.float32)[:, None], self.place[:n]], axis=1)


def draw_users(world: World) -> Users:
    """The users of a world."""
    rng, n = stream(world, _USERS), world.users
    bucket = rng.integers(0, len(AGES), n, dtype=np.int32)
    country = rng.integers(0, len(COUNTRIES), n, dtype=np.int32)
    segment = rng.integers(0, len(SEGMENTS), n, dtype=np.int32)
    age = rng.integers(_YEARS[bucket], _YEARS[bucket + 1], dtype=np.int32)
    signs = np.where(bucket < len(AGES) // 2, -1, 1) * np.where(country < len(COUNTRIES) // 2, -1, 1)
    crossed = np.empty((n, world.categories + 2), np.float32)
    crossed[:, :-2] = _segment_tastes(world)[segment]
    crossed[:, -2] = world.price_cross * np.linspace(-1, 1, len(AGES))[bucket]
    crossed[:, -1] = world.parity * signs
    scale = np.float32(world.taste)
    return Users(
        born=_born(rng, n, world.first_users, world.days),
        age=age,
        age_bucket=bucket,
        country=country,
        segment=segment,
        activity=np.exp(rng.standard_normal(n)),
        before=scale * rng.standard_normal((n, world.dimensions), np.float32),
        after=scale * rng.standard_normal((n, world.dimensions), np.float32),
        crossed=crossed,
    )


def draw_items(world: World) -> Items:
    """The items of a world."""
    rng, n = stream(world, _ITEMS), world.items
    rows, count = np.arange(n), world.categories
    category = rng.permutation(n).astype(np.int32) % np.int32(count)
    # A third of the items lie in a second category as well.
    other = (category + rng.integers(1, count, n, dtype=np.int32)) % np.int32(count)
    second = np.where(rng.random(n) < 1 / 3, other, -1).astype(np.int32)
    shares = np.zeros((n, count), np.float32)
    shares[rows, category] = 1
    both = rows[second >= 0]
    shares[both, second[both]] = 1
    shares /= shares.sum(axis=1, keepdims=True)
    centres = _unit(rng.standard_normal((count, world.dimensions), np.float32))
    place = _unit(shares @ centres + 0.2 * rng.standard_normal((n, world.dimensions), np.float32))
    level = 0.5 * rng.standard_normal(count)[category] + rng.standard_normal(n)
    level = (level - level.mean()) / max(float(level.std()), 1e-9)
    crossed = np.empty((n, count + 2), np.float32)
    crossed[:, :-2] = shares
    crossed[:, -2] = level
    crossed[:, -1] = np.where(level < np.median(level), -1, 1)
    return Items(
        born=_born(rng, n, world.first_items, world.days),
        category=category,
        second=second,
        price=np.round(20 * np.exp(0.8 * level), 2),
        log_rank=np.log(n / (rng.permutation(n) + 1)).astype(np.float32),
        place=place,
        crossed=crossed,
        centres=centres,
    )


def _segment_tastes(world: World) -> NDArray[np.float64]:
    """`(segments, C)` with zero mean in rows and columns, so that neither a segment nor a category alone tells."""
    table = stream(world, _SEGMENTS).standard_normal((len(SEGMENTS), world.categories))
    table -= table.mean(axis=0)
    table -= table.mean(axis=1, keepdims=True)
    centred: NDArray[np.float64] = world.cross * table / table.std()
    return centred


def _born(rng: np.random.Generator, n: int, first: int, days: int) -> NDArray[np.int64]:
    early = np.sort(rng.integers(-_OLDEST, 1, first))
    late = 1 + np.arange(n - first) * (days - 1) // max(n - first, 1)
    return np.concatenate([early, late])


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
