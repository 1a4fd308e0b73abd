"""Ids that are probably none: what a system writes where it knows no user or item, found by how often it occurs."""

import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.config import DataConfig
from recsys.data.windows import described

__all__ = ["dominant_ids"]

_EVENTS = 1000
_SHARE = 0.05
_TIMES = 20
_TOGETHER = 3


def dominant_ids(interactions: pa.Table, config: DataConfig) -> tuple[str, ...]:
    """A warning for each id with far more events than any other.

    One to three ids are named when each has more than 5 % of a log of more than 1,000 events, and more than 20 times
    the events of the next frequent id.
    """
    log = config.interactions
    columns = {"user_id": log.user_id, "item_id": log.item_id}
    return tuple(
        f"{described(log)}: column {columns[name]}: {value!r} has {count:,} of {interactions.num_rows:,} "
        f"events, more than {_TIMES} times those of the next id; if it stands for a missing id, add it to "
        "data.null_values"
        for name in columns
        if name in interactions.column_names
        for value, count in _dominant(interactions[name])
    )


def _dominant(ids: pa.ChunkedArray) -> list[tuple[str, int]]:
    if len(ids) <= _EVENTS:
        return []
    counts = pc.value_counts(ids)
    order = pc.array_sort_indices(counts.field("counts"), order="descending")[: _TOGETHER + 1]
    top = [(str(one["values"]), int(one["counts"])) for one in counts.take(order).to_pylist()]
    for last in range(len(top) - 1, 0, -1):
        if top[last - 1][1] > max(_TIMES * top[last][1], _SHARE * len(ids)):
            return top[:last]
    return []
