"""A day of the world, in blocks of sessions that need nothing of each other.

Each user has one session a day at most. A session is several requests; round `r` of a block is the `r`-th request of
all its sessions at once, so that what was clicked in one round changes the utilities of the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.data.synthetic.policy import Shelf, choose, draw_candidates, stock
from recsys.data.synthetic.population import Floats, Indices, Items, Users, stream
from recsys.data.synthetic.world import World

__all__ = ["DEVICES", "Block", "Day", "Nature", "find_offset", "open_day", "simulate_block"]

_SESSIONS, _BLOCKS, _PILOT = 4, 5, 6
_BLOCK = 2048
"""Sessions of a block. A constant of the world: another one would give other draws."""
_DAY_SECONDS = 86_399.0
DEVICES = ("desktop", "mobile", "tablet")

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Nature:
    """Everything that is true of a world.

    Attributes:
        world: its parameters.
        users, items: who and what there is.
        offset: what is added to every utility, so that the click rate is as asked.
        interest: `(U, C)` what recent clicks opened up, in [0, 1]; changes as days go by.
    """

    world: World
    users: Users
    items: Items
    offset: float
    interest: Floats

    @property
    def propensity(self) -> Floats:
        """`(L,)` the probability that a position is examined."""
        positions = np.arange(1, self.world.list_length + 1)
        propensity: Floats = np.power(positions, -self.world.position_bias, dtype=np.float32)
        return propensity


@dataclass(frozen=True, slots=True)
class Day:
    """Who comes on a day.

    Attributes:
        number: from 0.
        shelf: what there is to show.
        users: `(S,)` who comes, in the order of their first requests; each once.
        rounds: `(S,)` how many requests each makes.
        start: `(S,)` seconds since midnight of the first one.
    """

    number: int
    shelf: Shelf
    users: Indices
    rounds: NDArray[np.int64]
    start: NDArray[np.float64]

    def blocks(self) -> Iterator[slice]:
        """The sessions of each block."""
        for first in range(0, len(self.users), _BLOCK):
            yield slice(first, min(first + _BLOCK, len(self.users)))


@dataclass(frozen=True, slots=True)
class Block:
    """What happened, request by request in order of time.

    Attributes:
        user: `(R,)` who asked.
        seconds: `(R,)` when, since midnight.
        device: `(R,)` on what: a position in `DEVICES`.
        item: `(R, L)` what was shown.
        probability: `(R, L)` of a click, were the position examined.
        session: `(R, L)` the part of the utility that recent clicks opened up.
        examined, relevant: `(R, L)` the two draws whose product is the click.
        like: `(R, L)`; only what was clicked can be liked.
        order_value: `(R, L)` the price where it was bought, else 0.
    """

    user: Indices
    seconds: NDArray[np.float64]
    device: Indices
    item: Indices
    probability: Floats
    session: Floats
    examined: Mask
    relevant: Mask
    like: Mask
    order_value: Floats

    @property
    def click(self) -> Mask:
        """`(R, L)` examined and relevant."""
        return self.examined & self.relevant


def open_day(nature: Nature, number: int) -> Day:
    """Draws who comes on a day."""
    world, rng = nature.world, stream(nature.world, _SESSIONS, number)
    there = int(np.searchsorted(nature.users.born, number, side="right"))
    requests = world.requests_before(number + 1) - world.requests_before(number)
    sessions = min(max(1, round(requests / world.requests_per_session)), there, requests)
    # The smallest of exponential variables divided by weights: a weighted draw without replacement.
    weight = nature.users.activity[:there] * np.where(nature.users.born[:there] == number, 10.0, 1.0)
    arrival = rng.standard_exponential(there) / weight
    users = np.argpartition(arrival, sessions - 1)[:sessions].astype(np.int32)
    rng.shuffle(users)
    share = rng.gamma(2.0, size=sessions)
    rounds = 1 + rng.multinomial(requests - sessions, share / share.sum())
    # Most come in the evening.
    start = np.sort(rng.beta(3, 2, sessions)) * (_DAY_SECONDS - 1)
    return Day(number, stock(world, nature.items, number), users, rounds, start)


def simulate_block(nature: Nature, day: Day, block: slice) -> Block:
    """What happens in some sessions of a day. Moves their users' interests on, and changes nothing else."""
    rng = stream(nature.world, _BLOCKS, day.number, block.start)
    # Those with most requests first: each round is then a prefix of the block.
    order = block.start + np.argsort(-day.rounds[block], kind="stable")
    askers = _Askers.of(nature, day.users[order], day.number)
    rounds, start = day.rounds[order], day.start[order]
    device = rng.choice(len(DEVICES), size=len(order), p=(0.3, 0.6, 0.1)).astype(np.int32)
    clock = np.zeros(len(order))
    rows, elapsed, parts = [], [], []
    for number in range(int(rounds[0])):
        n = int(np.searchsorted(-rounds, -number, side="left"))
        parts.append(_round(nature, day.shelf, askers.first(n), rng))
        rows.append(np.arange(n))
        elapsed.append(clock[:n].copy())
        clock[:n] += 5 + 45 * rng.standard_exponential(n)
    nature.interest[askers.users] = askers.interest
    # Sessions that would last past midnight are held faster.
    haste = np.minimum(1.0, (_DAY_SECONDS - start) / np.maximum(clock, 1e-9))
    row = np.concatenate(rows)
    seconds = start[row] + np.concatenate(elapsed) * haste[row]
    by_time = np.argsort(seconds, kind="stable")
    row, seconds = row[by_time], seconds[by_time]
    happened = {name: np.concatenate([part[name] for part in parts])[by_time] for name in parts[0]}
    return Block(user=askers.users[row], seconds=seconds, device=device[row], **happened)


def find_offset(world: World, users: Users, items: Items) -> float:
    """What to add to every utility so that the share of clicks is `click_rate`, from requests of a trial first day.

    Clicks open up interests, so the rate of the log is a little higher.
    """
    blank = Nature(world, users, items, 0.0, np.zeros((world.users, world.categories), np.float32))
    rng, shelf = stream(world, _PILOT), stock(world, items, 0)
    askers = _Askers.of(blank, rng.integers(0, world.first_users, _BLOCK, dtype=np.int32), 0)
    shown, plain = choose(world, shelf, askers.plain, draw_candidates(world, shelf, askers.plain, rng), rng)
    utility = plain + _times(items.crossed[shown], askers.crossed)
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        rate = float((_sigmoid(utility + np.float32(middle)) * blank.propensity).mean())
        low, high = (middle, high) if rate < world.click_rate else (low, middle)
    return low


@dataclass(frozen=True, slots=True)
class _Askers:
    """Who makes a round's requests: n users, their vectors of the day, and their interests, which change."""

    users: Indices
    plain: Floats
    crossed: Floats
    interest: Floats

    @classmethod
    def of(cls, nature: Nature, users: Indices, day: int) -> "_Askers":
        return cls(
            users, nature.users.plain(nature.world, users, day), nature.users.crossed[users], nature.interest[users]
        )

    def first(self, n: int) -> "_Askers":
        """Views, so that their interests are the same."""
        return _Askers(self.users[:n], self.plain[:n], self.crossed[:n], self.interest[:n])


def _round(nature: Nature, shelf: Shelf, askers: _Askers, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """A request of each asker: the columns of a `Block` of shape `(n, L)`. Moves their interests on."""
    world = nature.world
    shown, plain = choose(world, shelf, askers.plain, draw_candidates(world, shelf, askers.plain, rng), rng)
    traits = nature.items.crossed[shown]
    session = np.float32(world.session) * _times(traits[..., :-2], askers.interest)
    probability = _sigmoid(plain + _times(traits, askers.crossed) + session + np.float32(nature.offset))
    relevant = rng.random(shown.shape, np.float32) < probability
    examined = rng.random(shown.shape, np.float32) < nature.propensity
    click = examined & relevant
    like, order_value = _after_clicks(nature, shelf, shown, plain, click, rng)
    opened = (click[:, None, :].astype(np.float32) @ traits[..., :-2])[:, 0]
    askers.interest[:] = np.minimum(1, np.float32(world.session_decay) * askers.interest + np.roll(opened, 1, axis=1))
    return {
        "item": shown,
        "probability": probability,
        "session": session,
        "examined": examined,
        "relevant": relevant,
        "like": like,
        "order_value": order_value,
    }


def _after_clicks(
    nature: Nature, shelf: Shelf, shown: Indices, plain: Floats, click: Mask, rng: np.random.Generator
) -> tuple[Mask, Floats]:
    """Likes, which follow taste alone, and order values: the dearer, the rarer."""
    like, order_value = np.zeros(shown.shape, bool), np.zeros(shown.shape, np.float32)
    at = np.nonzero(click)
    items = shown[at]
    taste = plain[at] - shelf.plain[items, 0]
    like[at] = rng.random(len(items), np.float32) < _sigmoid(taste - 1)
    bought = rng.random(len(items), np.float32) < _sigmoid(-1 - nature.items.crossed[items, -2])
    order_value[at] = np.where(bought, nature.items.price[items], 0)
    return like, order_value


def _times(items: Floats, users: Floats) -> Floats:
    """`(n, L)` inner products of `(n, L, E)` and `(n, E)`."""
    product: Floats = (items @ users[:, :, None])[..., 0]
    return product


def _sigmoid(utility: Floats) -> Floats:
    one = np.float32(1)
    probability: Floats = one / (one + np.exp(-utility))
    return probability
