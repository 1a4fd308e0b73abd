"""Who did what, in codes, and what each request may see of it."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.config import DataConfig
from recsys.data.tables import Dataset
from recsys.errors import ArtifactError
from recsys.features.batch import Codes
from recsys.features.catalogue import Catalogue

__all__ = ["Events", "Histories", "Requests", "events_from", "list_requests", "row_requests", "window_requests"]

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Events:
    """The coded log in its total order.

    Attributes:
        user: `(N,)` int32 user codes; zeros where the log has no users.
        item: `(N,)` int32 item codes; where the log has no items, the position of each row.
        time: `(N,)` int64 microseconds since the epoch, UTC; zeros where the log has no time.
        positive: `(N,)` whether the event is a positive.
        window: `(N,)` int8 window of the split.
    """

    user: Codes
    item: Codes
    time: NDArray[np.int64]
    positive: Mask
    window: NDArray[np.int8]

    def __len__(self) -> int:
        """Number of events N."""
        return len(self.user)

    def save(self, folder: Path) -> None:
        """Writes one `.npy` a column into a folder, which is made."""
        folder.mkdir(parents=True)
        _save_columns(self, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Raises `ArtifactError` when a column is missing or unreadable."""
        return cls(**_load_columns(cls, folder))


def events_from(
    dataset: Dataset, users: Catalogue, items: Catalogue, data: DataConfig, windows: NDArray[np.int8]
) -> Events:
    """The events of canonical tables.

    Args:
        dataset: canonical tables.
        users: holds every user of the log.
        items: holds every item of the log.
        data: says what a positive is.
        windows: `(N,)` window of each event.
    """
    log = dataset.interactions
    count = log.num_rows
    time = np.zeros(count, dtype=np.int64)
    if "timestamp" in log.column_names:
        time = log["timestamp"].cast("int64").to_numpy()
    positive = np.ones(count, dtype=bool)
    if data.positive is not None:
        # A missing label is no positive.
        positive = pc.fill_null(pc.greater_equal(log[data.positive.label], data.positive.at_least), False).to_numpy()
    if data.rows_only:
        # All rows are of one user who has no name and no history, and each is an item of its own.
        return Events(np.zeros(count, dtype=np.int32), np.arange(count, dtype=np.int32), time, positive, windows)
    return Events(users.encode(log["user_id"]), items.encode(log["item_id"]), time, positive, windows)


@dataclass(frozen=True, slots=True)
class Histories:
    """Positive events by user, oldest first, as compressed rows.

    Attributes:
        offsets: `(U + 1,)` where each user's events begin; the last is the number of events E.
        items: `(E,)` int32 item codes.
        positions: `(E,)` int64 positions of the events in the log; empty when loaded from a bundle.
    """

    offsets: Positions
    items: Codes
    positions: Positions

    @classmethod
    def build(cls, events: Events, n_users: int, keep: Mask | None = None) -> Self:
        """The histories of positive events.

        Args:
            events: the log.
            n_users: U, users of the catalogue.
            keep: `(N,)` events that may be seen; `None` means all.
        """
        positions = np.flatnonzero(events.positive if keep is None else events.positive & keep)
        users = events.user[positions]
        order = np.argsort(users, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))]).astype(np.int64)
        return cls(offsets, events.item[positions[order]], positions[order].astype(np.int64))

    @classmethod
    def none(cls, n_users: int) -> Self:
        """Of users of whom nothing may be seen."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(np.zeros(n_users + 1, dtype=np.int64), nothing.astype(np.int32), nothing)

    def __len__(self) -> int:
        """Number of users U."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> Positions:
        """`(U,)` events of each user."""
        return np.diff(self.offsets)

    def batch(self, users: NDArray[np.integer], lengths: NDArray[np.integer] | None = None) -> tuple[Codes, Codes]:
        """The first `lengths` items of users, as a `QueryBatch` holds them.

        Args:
            users: `(B,)` user codes.
            lengths: `(B,)` how many of the user's events are seen; `None` means all.

        Returns:
            `(B, H)` item codes padded with −1 on the right, H at least 1, and `(B,)` int32 lengths.
        """
        seen = self.counts[users] if lengths is None else np.asarray(lengths)
        column = np.arange(max(int(seen.max(initial=1)), 1))
        inside = column < seen[:, None]
        padded = np.full(inside.shape, -1, dtype=np.int32)
        padded[inside] = self.items[(self.offsets[users][:, None] + column)[inside]]
        return padded, seen.astype(np.int32)

    def save(self, folder: Path) -> None:
        """Writes offsets and items into an existing folder."""
        np.save(folder / "offsets.npy", self.offsets, allow_pickle=False)
        np.save(folder / "items.npy", self.items, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Maps what `save` wrote into memory, shared by all processes that read it.

        Raises:
            ArtifactError: a file is missing or unreadable, or the two do not fit.
        """
        offsets, items = _load(folder / "offsets.npy", mapped=True), _load(folder / "items.npy", mapped=True)
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(items) or (np.diff(offsets) < 0).any():
            raise ArtifactError(f"{folder}: the offsets do not fit {len(items)} items; build the histories again")
        return cls(offsets, items, np.empty(0, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Requests:
    """What to recommend to whom, as of when, and what turned out to be right.

    Attributes:
        user: `(Q,)` int32 user codes.
        as_of: `(Q,)` int64 how many of the user's visible positive events the request sees.
        offsets: `(Q + 1,)` where each request's positives begin.
        positives: int32 item codes, ascending and unique within a request.
        event: `(Q,)` int64 position in the log of the request's first event.
    """

    user: Codes
    as_of: Positions
    offsets: Positions
    positives: Codes
    event: Positions

    def __len__(self) -> int:
        """Number of requests Q."""
        return len(self.user)

    @property
    def counts(self) -> Positions:
        """`(Q,)` positives of each request."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.integer]) -> "Requests":
        """The requests at these positions."""
        counts = self.counts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        where = np.repeat(self.offsets[rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Requests(self.user[rows], self.as_of[rows], offsets, self.positives[where], self.event[rows])

    def padded_positives(self) -> Codes:
        """`(Q, P)` the positives of each request, padded with −1 on the right."""
        column = np.arange(int(self.counts.max(initial=0)))
        inside = column < self.counts[:, None]
        padded = np.full(inside.shape, -1, dtype=np.int32)
        padded[inside] = self.positives
        return padded

    def save(self, folder: Path) -> None:
        """Writes one `.npy` a column into a folder, which is made."""
        folder.mkdir(parents=True)
        _save_columns(self, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Raises `ArtifactError` when a column is missing or unreadable."""
        return cls(**_load_columns(cls, folder))


def _before(events: Events, histories: Histories, at: Positions) -> Positions:
    """How many of the acting user's visible positive events come before each event in the total order.

    Args:
        events: the log.
        histories: visible positive events of that log.
        at: `(M,)` positions in the log.
    """
    users = events.user[at].astype(np.int64)
    owner = np.repeat(np.arange(len(histories), dtype=np.int64), histories.counts)
    keys = owner * len(events) + histories.positions
    return np.searchsorted(keys, users * len(events) + at) - histories.offsets[users]


def window_requests(
    events: Events,
    histories: Histories,
    window: int,
    *,
    per: Literal["window", "event"] = "window",
    withheld: int = 0,
) -> Requests:
    """The requests a window asks.

    Args:
        events: the log.
        histories: visible positive events of that log.
        window: one of `RECALL`, `RANK`, `VALID`, `TEST`.
        per: `window`: one request a user, before the user's first visible event of that window or a later one, with
            all the window's items as positives. `event`: one request an event, with its own history and item.
        withheld: positives among the last this many items of the history are left out, as they are never recommended
            (`exclude_seen`).
    """
    at = np.flatnonzero(events.positive & (events.window == window))
    users = events.user[at]
    if per == "event":
        group, first = np.arange(len(at)), at
        as_of = _before(events, histories, at)
    else:
        _, index, group = np.unique(users, return_index=True, return_inverse=True)
        first = at[index]
        as_of = _seen_before_window(events, histories, window)[events.user[first]]
    open_ = ~_among_recent(histories, users, events.item[at], as_of[group], withheld)
    return _grouped(events, first, as_of, group[open_], events.item[at[open_]])


def row_requests(events: Events, histories: Histories, at: Positions) -> Requests:
    """A request for each of these events, with the history before it, and with its item if it is a positive.

    Args:
        events: the log.
        histories: visible positive events of that log.
        at: `(Q,)` positions in the log.
    """
    positive = events.positive[at]
    offsets = np.concatenate([[0], np.cumsum(positive)]).astype(np.int64)
    return Requests(events.user[at], _before(events, histories, at), offsets, events.item[at[positive]], at)


def list_requests(
    events: Events, histories: Histories, at: Positions, request: NDArray[np.integer]
) -> tuple[Requests, Positions]:
    """One request for the events of a user that belong to one list, with the history before the first of them.

    Args:
        events: the log.
        histories: visible positive events of that log.
        at: `(M,)` positions in the log, ascending.
        request: `(M,)` number of the list each of them belongs to, from 0.

    Returns:
        Q requests, in the order of their first events, and `(Q, G)` the positions in the log of the events of each, in
        the order of the log, padded with −1 on the right.
    """
    key = events.user[at].astype(np.int64) * (np.int64(request.max(initial=0)) + 1) + request
    _, index, inverse = np.unique(key, return_index=True, return_inverse=True)
    place = np.empty(len(index), dtype=np.int64)
    place[np.argsort(index, kind="stable")] = np.arange(len(index))
    group, first = place[inverse], at[np.sort(index)]
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=len(first))
    column = np.arange(len(at)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    members = np.full((len(first), int(sizes.max(initial=1))), -1, dtype=np.int64)
    members[group[order], column] = at[order]
    positive = events.positive[at]
    pairs = np.unique(np.stack([group[positive], events.item[at[positive]].astype(np.int64)]), axis=1)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pairs[0], minlength=len(first)))]).astype(np.int64)
    as_of = _before(events, histories, first)
    return Requests(events.user[first], as_of, offsets, pairs[1].astype(np.int32), first), members


def _seen_before_window(events: Events, histories: Histories, window: int) -> Positions:
    """`(U,)` how many visible events of each user come before the first one of this window or a later one."""
    owner = np.repeat(np.arange(len(histories)), histories.counts)
    local = np.arange(len(histories.items)) - histories.offsets[owner]
    later = events.window[histories.positions] >= window
    seen = histories.counts.copy()
    np.minimum.at(seen, owner[later], local[later])
    return seen


def _among_recent(histories: Histories, users: Codes, items: Codes, as_of: Positions, recent: int) -> Mask:
    """Whether each item is among the last `recent` of the first `as_of` events of its user."""
    if recent <= 0 or not len(histories.items) or not len(users):
        return np.zeros(len(users), dtype=bool)
    n_items = np.int64(max(histories.items.max(), items.max()) + 1)
    length = histories.counts.max() + 1
    owner = np.repeat(np.arange(len(histories), dtype=np.int64), histories.counts)
    local = np.arange(len(histories.items)) - histories.offsets[owner]
    keys = np.sort((owner * n_items + histories.items) * length + local)
    pair = (users.astype(np.int64) * n_items + items) * length
    # The last occurrence of the pair before the request.
    slot = np.searchsorted(keys, pair + as_of) - 1
    found: Mask = (slot >= 0) & (keys[np.maximum(slot, 0)] >= pair + np.maximum(as_of - recent, 0))
    return found


def _grouped(events: Events, first: Positions, as_of: Positions, group: Positions, items: Codes) -> Requests:
    pairs = np.unique(np.stack([group, items.astype(np.int64)]), axis=1)
    kept, counts = np.unique(pairs[0], return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Requests(events.user[first[kept]], as_of[kept], offsets, pairs[1].astype(np.int32), first[kept])


def _save_columns(table: Events | Requests, folder: Path) -> None:
    for column in fields(table):
        np.save(folder / f"{column.name}.npy", getattr(table, column.name), allow_pickle=False)


def _load_columns(kind: type[Events] | type[Requests], folder: Path) -> dict[str, NDArray[Any]]:
    return {column.name: _load(folder / f"{column.name}.npy") for column in fields(kind)}


def _load(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    try:
        # A plain view of the mapped pages: np.memmap itself makes every small gather slower.
        return np.asarray(np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); run the stage that wrote it again") from error
