"""Training batches of two-towers: requests, what they may know, and the columns they are scored against."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.features.assemble import HISTORY_MASK, Assembler
from recsys.features.batch import Arrays, Codes, QueryBatch
from recsys.features.history import Histories
from recsys.recall.two_tower.negatives import Columns, NegativeSampler
from recsys.recall.two_tower.towers import HISTORY_AT, LOG_Q, STATES_AT
from recsys.training.batches import Batch, as_tensors

__all__ = ["EventBatches", "Mine", "Requests", "SequenceBatches", "UserBatches", "draw_history"]

Mine = Callable[[Arrays, Codes, np.random.Generator], Codes]
"""Hard negatives `(P, hard)` of requests, given the query tower's inputs and the users; −1 pads."""
_BUCKETS = 50
"""Batches drawn together and sorted by length: enough to bring like to like, few enough to stay random."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What all batches of a route share.

    Attributes:
        histories: events the route is fitted on.
        user_features: encoded `user.*` arrays by user code.
        assembler: of the query tower's inputs and the items'.
        sampler: of the columns.
        n_items: N.
        mine: hard negatives, where any are wanted.
    """

    histories: Histories
    user_features: Arrays
    assembler: Assembler
    sampler: NegativeSampler
    n_items: int
    mine: Mine | None = None
    _catalogue: dict[str, torch.Tensor] = field(default_factory=dict)

    def batch(
        self,
        users: Codes,
        past: Codes,
        targets: Codes,
        rng: np.random.Generator,
        *,
        whole: bool,
        states: NDArray[np.int64] | None = None,
    ) -> Batch:
        """A batch of requests.

        Args:
            users: `(B,)` user codes.
            past: `(B, L)` items of their histories, oldest first, padded with −1 on the right.
            targets: `(P,)` positives, or `(P, T)` several of each request, padded with −1.
            rng: draws negatives.
            whole: whether the columns are the catalogue; of several positives they have to be.
            states: `(P,)` which of the B·L states ask; `None`: each row asks once, P = B.
        """
        query = self._query(users, past, states)
        asking = users if states is None else users[states // past.shape[1]]
        if whole:
            columns = self.sampler.whole(targets, past if targets.ndim > 1 else None)
        else:
            columns = self._columns(query, targets, asking, rng)
        inputs = {**as_tensors(query), **self._items(columns)}
        if columns.logq is not None:
            inputs[LOG_Q] = torch.from_numpy(columns.logq)
        mask = None if columns.mask is None else torch.from_numpy(columns.mask)
        return Batch(inputs, torch.from_numpy(columns.target), mask)

    def _query(self, users: Codes, past: Codes, states: NDArray[np.int64] | None) -> dict[str, NDArray[np.generic]]:
        """The query tower's inputs; each item of the batch once, as it holds the same few over and over."""
        items, at = np.unique(past, return_inverse=True)
        return {
            **{name: values[users] for name, values in self.user_features.items()},
            **self.assembler.past_inputs(items),
            HISTORY_AT: at.reshape(past.shape),
            HISTORY_MASK.name: (past >= 0).astype(np.float32),
            **({} if states is None else {STATES_AT: states}),
        }

    def _columns(self, query: Arrays, targets: Codes, users: Codes, rng: np.random.Generator) -> Columns:
        mine = self.mine
        hard = None if mine is None else lambda: mine(query, users, rng)
        return self.sampler.columns(targets, users, rng, hard)

    def _items(self, columns: Columns) -> dict[str, torch.Tensor]:
        if columns.codes is not None:
            return as_tensors(self.assembler.item_inputs(columns.codes))
        if not self._catalogue:
            everything = np.arange(self.n_items, dtype=np.int32)
            self._catalogue.update(as_tensors(self.assembler.item_inputs(everything)))
        return self._catalogue


@dataclass(frozen=True, slots=True)
class EventBatches:
    """Each event with at least `min_history` before it is the positive of a request; without order, each event is.

    Attributes:
        requests: what batches are made of.
        batch_size: requests a batch; the last, smaller one is dropped if it is not the only one.
        min_history: earlier events that make a request worth learning from.
        user_penalty: events are drawn in proportion to 1 / (the user's events)^this.
        ordered: whether histories are those before the event; else they are drawn from all of the user's.
        whole: whether the columns are the catalogue.
    """

    requests: Requests
    batch_size: int
    min_history: int
    user_penalty: float
    ordered: bool
    whole: bool

    def __len__(self) -> int:
        """Batches of an epoch."""
        return max(len(self.targets()) // self.batch_size, 1)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of an epoch, shuffled."""
        targets = self._drawn(self.targets(), rng)
        for number in range(len(self)):
            yield self._batch(targets[number * self.batch_size : (number + 1) * self.batch_size], rng)

    def targets(self) -> NDArray[np.int64]:
        """Positions in the histories of the events to predict."""
        histories = self.requests.histories
        if not self.ordered:
            return np.flatnonzero(np.repeat(histories.counts, histories.counts) > self.min_history)
        return _from_place(histories, self.min_history)

    def _drawn(self, targets: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        if not self.user_penalty:
            return rng.permutation(targets)
        counts = np.repeat(self.requests.histories.counts, self.requests.histories.counts)[targets]
        weights = counts**-self.user_penalty
        return rng.choice(targets, len(targets), p=weights / weights.sum())

    def _batch(self, targets: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        histories = self.requests.histories
        users = (np.searchsorted(histories.offsets, targets, side="right") - 1).astype(np.int32)
        length = self.requests.assembler.spec.history_length
        if self.ordered:
            past = _before(histories, users, targets, length)
        else:
            past = draw_history(histories, users, length, rng)
            # What is to be found must not be given away.
            past[past == histories.items[targets][:, None]] = -1
        return self.requests.batch(users, past, histories.items[targets], rng, whole=self.whole)


@dataclass(frozen=True, slots=True)
class UserBatches:
    """Each user asks once an epoch, with a random half of the items for the other half.

    Users of a batch have about as many items.

    Attributes:
        requests: what batches are made of.
        batch_size: users a batch.
        min_history: users with no more events than this are left out.
    """

    requests: Requests
    batch_size: int
    min_history: int

    def __len__(self) -> int:
        """Batches of an epoch."""
        return max(-(-len(self._users()) // self.batch_size), 1)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of an epoch, shuffled."""
        users = self._users()
        order = users[_bucketed(self.requests.histories.counts[users], self.batch_size, rng)]
        starts = np.arange(0, len(order), self.batch_size)
        for start in rng.permutation(starts):
            yield self._batch(order[start : start + self.batch_size].astype(np.int32), rng)

    def targets(self) -> NDArray[np.int64]:
        """Positions in the histories of the events that are predicted in some epoch."""
        asking = np.zeros(len(self.requests.histories), dtype=bool)
        asking[self._users()] = True
        return np.flatnonzero(np.repeat(asking, self.requests.histories.counts))

    def _users(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.requests.histories.counts > max(self.min_history, 1))

    def _batch(self, users: Codes, rng: np.random.Generator) -> Batch:
        items, counts = self.requests.histories.batch(users)
        real = items >= 0
        given = rng.random(items.shape) < 0.5
        # One to go by and one to look for, whatever the dice say.
        first = rng.integers(0, counts)
        given[np.arange(len(users)), first] = True
        given[np.arange(len(users)), (first + rng.integers(1, counts)) % counts] = False
        given &= real
        past = QueryBatch(_kept(items, given), given.sum(axis=1, dtype=np.int32), {})
        length = min(self.requests.assembler.spec.history_length, past.history.shape[1])
        return self.requests.batch(users, past.recent(length), _kept(items, real & ~given), rng, whole=True)


@dataclass(frozen=True, slots=True)
class SequenceBatches:
    """Each sequence asks at every position for what follows; sequences of a batch are of similar length.

    A user with more events than the tower reads gives several sequences, cut at other places in every epoch.

    Attributes:
        requests: what batches are made of.
        batch_size: sequences a batch.
        whole: whether the columns are the catalogue.
    """

    requests: Requests
    batch_size: int
    whole: bool

    def __len__(self) -> int:
        """Batches of an epoch, at most."""
        length = self.requests.assembler.spec.history_length
        steps = np.maximum(self.requests.histories.counts - 1, 0)
        # A random cut can split one more sequence off.
        windows = np.where(steps > length, -(-steps // length) + 1, np.minimum(steps, 1))
        return max(-(-int(windows.sum()) // self.batch_size), 1)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of an epoch, shuffled."""
        users, begin, end = _windows(self.requests.histories, self.requests.assembler.spec.history_length, rng)
        order = _bucketed(end - begin, self.batch_size, rng)
        batches = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        for number in rng.permutation(len(batches)):
            rows = batches[number]
            yield self._batch(users[rows], begin[rows], end[rows], rng)

    def targets(self) -> NDArray[np.int64]:
        """Positions in the histories of the events to predict: all but the first of each user."""
        return _from_place(self.requests.histories, 1)

    def _batch(self, users: Codes, begin: NDArray[np.int64], end: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        items = self.requests.histories.items
        where = begin[:, None] + np.arange(int((end - begin).max()))
        inside = where < end[:, None]
        past = np.where(inside, items[np.where(inside, where, 0)], np.int32(-1))
        states = np.flatnonzero(inside)
        return self.requests.batch(users, past, items[where[inside] + 1], rng, whole=self.whole, states=states)


def _from_place(histories: Histories, place: int) -> NDArray[np.int64]:
    """Positions in the histories of the events with at least so many before them."""
    local = np.arange(len(histories.items)) - np.repeat(histories.offsets[:-1], histories.counts)
    return np.flatnonzero(local >= place)


def _kept(items: Codes, keep: NDArray[np.bool_]) -> Codes:
    """The items to keep of each row in their order, padded with −1 on the right; as wide as the most that are kept."""
    order = np.argsort(~keep, axis=1, kind="stable")[:, : int(keep.sum(axis=1).max(initial=1))]
    kept: Codes = np.where(np.take_along_axis(keep, order, axis=1), np.take_along_axis(items, order, axis=1), -1)
    return kept.astype(np.int32)


def _before(histories: Histories, users: Codes, targets: NDArray[np.int64], length: int) -> Codes:
    """`(B, L)` the items before each target, oldest first, padded with −1 on the right."""
    begin = np.maximum(histories.offsets[users], targets - length)
    where = begin[:, None] + np.arange(length)
    inside = where < targets[:, None]
    return np.where(inside, histories.items[np.where(inside, where, 0)], np.int32(-1))


def draw_history(histories: Histories, users: Codes, length: int, rng: np.random.Generator) -> Codes:
    """`(B, L)` up to `length` of each user's items in their order, from a random place on, padded with −1."""
    counts = histories.counts[users]
    spare = np.maximum(counts - length, 0)
    begin = histories.offsets[users] + rng.integers(0, spare + 1)
    where = begin[:, None] + np.arange(int(np.minimum(counts, length).max(initial=1)))
    inside = where < (begin + np.minimum(counts, length))[:, None]
    return np.where(inside, histories.items[np.where(inside, where, 0)], np.int32(-1))


def _windows(
    histories: Histories, length: int, rng: np.random.Generator
) -> tuple[Codes, NDArray[np.int64], NDArray[np.int64]]:
    """User, first input and end of the inputs of every sequence; the input at each place asks for the next event."""
    steps = np.maximum(histories.counts - 1, 0)
    last = histories.offsets[:-1] + steps
    # Cut from the end on, after a shorter piece of random length where there is more than one.
    piece = np.where(steps > length, rng.integers(0, length, len(steps)), 0)
    whole = -(-(steps - piece) // length)
    number = whole + (piece > 0)
    users = np.repeat(np.arange(len(steps)), number)
    place = np.arange(len(users)) - np.repeat(np.cumsum(number) - number, number)
    shift = np.where(piece[users] > 0, (place > 0) * piece[users] + np.maximum(place - 1, 0) * length, place * length)
    end = last[users] - shift
    size = np.where((piece[users] > 0) & (place == 0), piece[users], length)
    begin = np.maximum(end - size, histories.offsets[users])
    return users.astype(np.int32), begin, end


def _bucketed(sizes: NDArray[np.int64], batch_size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order in which neighbours are of similar size."""
    order = rng.permutation(len(sizes))
    pool = np.arange(len(order)) // (batch_size * _BUCKETS)
    return order[np.lexsort((sizes[order], pool))]
