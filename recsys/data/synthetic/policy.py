"""What users are shown: a logging policy of the usual kind, with the biases of the usual kind.

For each request it draws some items by popularity, some from categories near the user's taste, and a list of any items
at all; sorts what it drew by popularity and taste, which it knows in part, with noise; and shows the first of them. It
knows nothing of the crossed part of a utility, nor of what was just clicked.
"""

from dataclasses import dataclass

import numpy as np

from recsys.data.synthetic.population import Floats, Indices, Items
from recsys.data.synthetic.world import World

__all__ = ["Shelf", "choose", "draw_candidates", "stock"]

_TABLE, _SMALL_TABLE = 1 << 18, 1 << 13


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the policy draws from on a day.

    Attributes:
        count: n, items that exist.
        plain: `(n, 1 + D)` the plain part of their vectors.
        popular: items, each as often as it is popular: a uniform draw from it is a draw by popularity.
        by_category: `(C, …)` the same within each category.
        centres: `(C, D)` where categories lie.
    """

    count: int
    plain: Floats
    popular: Indices
    by_category: Indices
    centres: Floats


def stock(world: World, items: Items, day: int) -> Shelf:
    """The shelf of a day."""
    plain = items.plain(world, day)
    weights = np.exp(3 * plain[:, 0].astype(np.float64))
    popular = _table(np.arange(len(plain)), weights, _TABLE)
    by_category = np.empty((world.categories, _SMALL_TABLE), np.int32)
    for category in range(world.categories):
        inside = np.flatnonzero(items.category[: len(plain)] == category)
        # A small world may have nothing in a category yet.
        inside = inside if len(inside) else np.arange(len(plain))
        by_category[category] = _table(inside, weights[inside], _SMALL_TABLE)
    return Shelf(len(plain), plain, popular, by_category, items.centres)


def draw_candidates(world: World, shelf: Shelf, users: Floats, rng: np.random.Generator) -> Indices:
    """Items to choose from for each request, repetitions included.

    Args:
        world: how many of each sort.
        shelf: of the day.
        users: `(n, 1 + D)` plain parts of the vectors of those who ask.
        rng: of the block.

    Returns:
        `(n, L + 2 · policy_candidates)`; the first L, `list_length`, are all different.
    """
    n, wanted = len(users), world.policy_candidates
    # Neighbours on the shelf have nothing in common but their age, and are never the same item.
    first = rng.integers(0, shelf.count, (n, 1), dtype=np.int32)
    any_ = (first + np.arange(world.list_length, dtype=np.int32)) % np.int32(shelf.count)
    popular = shelf.popular[rng.integers(0, _TABLE, (n, wanted), dtype=np.int32)]
    chances = np.cumsum(np.exp(2 * users[:, 1:] @ shelf.centres.T), axis=1)
    chances /= chances[:, -1:]
    drawn = rng.random((n, wanted), np.float32)
    category = np.zeros((n, wanted), np.int32)
    for column in range(world.categories - 1):
        category += drawn > chances[:, column, None]
    liked = shelf.by_category[category, rng.integers(0, _SMALL_TABLE, (n, wanted), dtype=np.int32)]
    return np.concatenate([any_, popular, liked], axis=1)


def choose(
    world: World, shelf: Shelf, users: Floats, candidates: Indices, rng: np.random.Generator
) -> tuple[Indices, Floats]:
    """The lists that are shown.

    Args:
        world: the policy's quality.
        shelf: of the day.
        users: `(n, 1 + D)` plain parts of the vectors of those who ask.
        candidates: `(n, M)` see `draw_candidates`.
        rng: of the block.

    Returns:
        `(n, L)` different items, first shown first, and the plain part of their utilities.
    """
    plain = (shelf.plain[candidates] @ users[:, :, None])[..., 0]
    # The noise is Gumbel's, so that the order is a draw from a softmax over what is known.
    noise = -np.log(np.maximum(rng.standard_exponential(candidates.shape, np.float32), np.float32(1e-30)))
    key = np.where(_repeated(candidates), -np.inf, np.float32(world.policy_quality) * plain + noise)
    best = np.argsort(-key, axis=1, kind="stable")[:, : world.list_length]
    return np.take_along_axis(candidates, best, axis=1), np.take_along_axis(plain, best, axis=1)


def _repeated(candidates: Indices) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether each item came before in its row."""
    width = candidates.shape[1]
    keys = np.sort(candidates.astype(np.int64) * width + np.arange(width), axis=1)
    items, column = np.divmod(keys, width)
    repeated = np.zeros(candidates.shape, dtype=bool)
    again = np.zeros(candidates.shape, dtype=bool)
    again[:, 1:] = items[:, 1:] == items[:, :-1]
    np.put_along_axis(repeated, column, again, axis=1)
    return repeated


def _table(items: np.ndarray[tuple[int, ...], np.dtype[np.integer]], weights: Floats, size: int) -> Indices:
    ends = np.round(np.cumsum(weights) / weights.sum() * size).astype(np.int64)
    return np.repeat(items, np.diff(ends, prepend=0)).astype(np.int32)
