"""The tables of a simulated world, column by column."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.synthetic.population import AGES, COUNTRIES, SEGMENTS, Items, Users
from recsys.data.synthetic.simulate import DEVICES, Block, Nature
from recsys.data.synthetic.world import World
from recsys.data.tables import TIMESTAMP_TYPE

__all__ = ["INTERACTIONS", "TRUTH", "Ids", "items_table", "log_table", "truth_table", "users_table"]

_CODED = pa.dictionary(pa.int32(), pa.string())
INTERACTIONS = pa.schema(
    [
        ("user_id", _CODED),
        ("item_id", _CODED),
        ("timestamp", TIMESTAMP_TYPE),
        ("request_id", pa.int64()),
        ("position", pa.int32()),
        ("exposed", pa.bool_()),
        ("propensity", pa.float32()),
        ("click", pa.int8()),
        ("like", pa.int8()),
        ("order_value", pa.float32()),
        ("device", _CODED),
    ]
)
TRUTH = pa.schema(
    [("probability", pa.float32()), ("session", pa.float32()), ("examined", pa.bool_()), ("relevant", pa.bool_())]
)
_ADJECTIVES = ("brisk", "calm", "bold", "plain", "rare", "warm", "slim", "grand", "quiet", "bright", "early", "late")
_NOUNS = (
    *("lamp", "chair", "kettle", "jacket", "novel", "racket", "puzzle", "camera"),
    *("teapot", "scarf", "drill", "guitar", "tent", "basket", "radio", "mirror"),
)


class Ids:
    """The outside ids of users and items, by code."""

    def __init__(self, world: World) -> None:
        self.users = _ids("u", world.users)
        self.items = _ids("i", world.items)


def log_table(nature: Nature, ids: Ids, block: Block, *, day: int, first_request: int) -> pa.Table:
    """What is logged of a block, in the columns of `INTERACTIONS`."""
    requests, length = block.item.shape
    n = requests * length
    midnight = np.datetime64(nature.world.time(day).replace(tzinfo=None), "us")
    # Milliseconds, as logs have them.
    time = midnight + np.round(block.seconds * 1000).astype(np.int64) * np.timedelta64(1000, "us")
    columns = [
        _coded(np.repeat(block.user, length), ids.users),
        _coded(block.item.ravel(), ids.items),
        pa.array(np.repeat(time, length)).cast(TIMESTAMP_TYPE),
        pa.array(np.repeat(np.arange(first_request, first_request + requests), length)),
        pa.array(np.tile(np.arange(1, length + 1, dtype=np.int32), requests)),
        pa.array(np.ones(n, dtype=bool)),
        pa.array(np.tile(nature.propensity, requests)),
        pa.array(block.click.ravel().astype(np.int8)),
        pa.array(block.like.ravel().astype(np.int8)),
        pa.array(block.order_value.ravel()),
        pa.DictionaryArray.from_arrays(np.repeat(block.device, length), pa.array(DEVICES)),
    ]
    return pa.table(columns, names=INTERACTIONS.names)


def truth_table(block: Block) -> pa.Table:
    """What only the oracle knows of the same rows, in the columns of `TRUTH`."""
    columns = (block.probability, block.session, block.examined, block.relevant)
    return pa.table([pa.array(column.ravel()) for column in columns], names=TRUTH.names)


def users_table(world: World, ids: Ids, users: Users) -> pa.Table:
    """The users in order of appearance."""
    return pa.table(
        {
            "user_id": ids.users,
            "age": pa.array(users.age),
            "age_bucket": pa.array(AGES).take(pa.array(users.age_bucket)),
            "country": pa.array(COUNTRIES).take(pa.array(users.country)),
            "segment": pa.array(SEGMENTS).take(pa.array(users.segment)),
            "appeared": _appeared(world, users.born),
        }
    )


def items_table(world: World, ids: Ids, items: Items) -> pa.Table:
    """The items in order of appearance; the main category comes first in its list."""
    names = pa.array([f"category_{number:02d}" for number in range(world.categories)])
    two = items.second >= 0
    offsets = np.concatenate([[0], np.cumsum(1 + two)]).astype(np.int32)
    flat = np.empty(offsets[-1], np.int32)
    flat[offsets[:-1]] = items.category
    flat[offsets[1:][two] - 1] = items.second[two]
    return pa.table(
        {
            "item_id": ids.items,
            "title": _titles(items),
            "category": pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(flat))),
            "price": pa.array(items.price),
            "appeared": _appeared(world, items.born),
        }
    )


def _titles(items: Items) -> pa.Array:
    """A word that says nothing, a word that goes with the category, and a number."""
    return pa.array(
        [
            f"{_ADJECTIVES[code % len(_ADJECTIVES)]} {_NOUNS[category % len(_NOUNS)]} {code}".capitalize()
            for code, category in enumerate(items.category.tolist())
        ]
    )


def _appeared(world: World, born: NDArray[np.int64]) -> pa.Array:
    first = int(born.min(initial=0))
    days = pa.array([world.midnight + timedelta(days=day) for day in range(first, world.days)], TIMESTAMP_TYPE)
    return days.take(pa.array(born - first))


def _ids(letter: str, count: int) -> pa.Array:
    width = max(len(str(count - 1)), 4)
    return pa.array([f"{letter}{code:0{width}d}" for code in range(count)])


def _coded(codes: NDArray[np.int32], ids: pa.Array) -> pa.Array:
    """A dictionary of the ids that occur, so that Parquet is written without hashing a string a row."""
    used = np.zeros(len(ids), dtype=bool)
    used[codes] = True
    place = np.cumsum(used, dtype=np.int32) - 1
    return pa.DictionaryArray.from_arrays(pa.array(place[codes]), ids.take(pa.array(np.flatnonzero(used))))
