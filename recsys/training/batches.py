"""Batches of labelled groups, sliced from arrays in memory: a row-by-row data set would be seventy times slower."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.errors import DataError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Arrays

__all__ = [
    "Batch",
    "BatchSource",
    "Part",
    "SampleSource",
    "Samples",
    "Stateful",
    "as_tensors",
    "check_labelled",
    "joined",
]


Positions = NDArray[np.int64]
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Batch:
    """A step's data.

    Attributes:
        inputs: model inputs by field name.
        labels: `(B, C)` float32, or `(B, C, T)` of several tasks; for two-towers `(P, 1)` int64, the column of each
            request's positive.
        mask: `(B, C)` bool, true at real candidates; `None` means all are.
        weight: `(B, C)` float32, how much each counts; `None` means all count the same.
        offset: `(B, C)` float32, added to the scores before the loss sees them; `None`: nothing is.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    mask: Tensor | None
    weight: Tensor | None = None
    offset: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        inputs = {name: values.to(device, non_blocking=True) for name, values in self.inputs.items()}
        others = (None if v is None else v.to(device) for v in (self.mask, self.weight, self.offset))
        return Batch(inputs, self.labels.to(device), *others)


class BatchSource(Protocol):
    """Gives the batches of an epoch."""

    def __len__(self) -> int:
        """Batches of an epoch."""
        ...

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches, in an order drawn from `rng`."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """A source whose epochs depend on more than the generator that they are drawn from."""

    def state(self) -> dict[str, Tensor]:
        """What the present epoch depends on."""
        ...

    def restore(self, state: dict[str, Tensor]) -> None:
        """The next epoch is the one that `state` was asked in."""
        ...


class SampleSource(BatchSource, Protocol):
    """Groups of labelled candidates, in memory or not."""

    def in_order(self) -> Iterator[Batch]:
        """All groups once, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Samples:
    """Q groups of C labelled candidates.

    Attributes:
        inputs: model inputs by field name; the first axis is the request.
        labels: `(Q, C)` float32, or `(Q, C, T)` of several tasks.
        mask: `(Q, C)` bool, true at real candidates.
        batch_size: requests a batch.
        weight: `(Q, C)` float32, how much each counts; `None`: all count the same.
        pool: batches that are drawn together and sorted by the length of the history, so that little is padded.
        offset: `(Q, C)` float32, added to the scores before the loss sees them: by how much the log-odds of a positive
            among the samples are above those in the world; `None`: they are the same.
        unmined: `(Q, C)` bool, true at negatives that teach in every epoch, whatever they score; `None`: none is.
    """

    inputs: Arrays
    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]
    batch_size: int
    weight: NDArray[np.float32] | None = None
    pool: int = 1
    offset: NDArray[np.float32] | None = None
    unmined: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        check_labelled(self.mask)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.labels) // self.batch_size)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of an epoch, shuffled; one may be smaller."""
        batches = self._cut(self._by_length(rng.permutation(len(self.labels))))
        return self._batches([batches[place] for place in rng.permutation(len(batches))] if self._bucketed else batches)

    def in_order(self) -> Iterator[Batch]:
        """All groups once, in their order."""
        return self._batches(self._cut(np.arange(len(self.labels))))

    def columns(self, places: NDArray[np.int32]) -> "Samples":
        """The same groups with these of their candidates alone: `(Q, K)` places, −1 where there are fewer."""

        def taken(values: NDArray[Any]) -> NDArray[Any]:
            return np.take_along_axis(values, np.maximum(places, 0).reshape(*places.shape, *[1] * (values.ndim - 2)), 1)

        inputs = {name: taken(values) if _by_candidate(name) else values for name, values in self.inputs.items()}
        others = (None if v is None else taken(v) for v in (self.offset, self.unmined))
        weight = None if self.weight is None else taken(self.weight)
        return Samples(inputs, taken(self.labels), places >= 0, self.batch_size, weight, self.pool, *others)

    @property
    def _bucketed(self) -> bool:
        return self.pool > 1 and HISTORY_MASK.name in self.inputs

    def _by_length(self, order: Positions) -> Positions:
        """The order, sorted by the length of the history within each pool."""
        if not self._bucketed:
            return order
        lengths = self.inputs[HISTORY_MASK.name].sum(axis=1)[order]
        size = self.pool * self.batch_size
        pools = range(0, len(order), size)
        return np.concatenate([order[at : at + size][lengths[at : at + size].argsort(kind="stable")] for at in pools])

    def _cut(self, order: Positions) -> list[Positions]:
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def _batches(self, batches: list[Positions]) -> Iterator[Batch]:
        for rows in batches:
            inputs = as_tensors(self._taken(rows))
            others = (None if v is None else torch.from_numpy(v[rows]) for v in (self.weight, self.offset))
            yield Batch(inputs, torch.from_numpy(self.labels[rows]), torch.from_numpy(self.mask[rows]), *others)

    def _taken(self, rows: Positions) -> dict[str, NDArray[np.generic]]:
        """The inputs of these groups; the history as long as the longest of theirs, and at least 1."""
        if HISTORY_MASK.name not in self.inputs:
            return {name: values[rows] for name, values in self.inputs.items()}
        real = self.inputs[HISTORY_MASK.name][rows]
        length = max(int(real.sum(axis=1).max()), 1)
        cut = {name: values[rows, :length] for name, values in self.inputs.items() if name.startswith("history.")}
        return {name: cut[name] if name in cut else values[rows] for name, values in self.inputs.items()}


class Part(Samples):
    """Some groups of many: that none of their candidates is real is no mistake."""

    def __post_init__(self) -> None:
        pass


def check_labelled(mask: NDArray[np.bool_]) -> None:
    """Raises `DataError` when there is nothing to learn from."""
    if not mask.any():
        raise DataError("no labelled candidate to train on; check the windows of the split and data.positive")


def joined(first: Samples, second: Samples) -> Samples:
    """The groups of both, as wide as the wider, in batches of the first's size."""
    width = max(first.labels.shape[1], second.labels.shape[1])
    inputs = {}
    for name, values in first.inputs.items():
        other = second.inputs[name]
        if _by_candidate(name):
            values, other = _widened(values, width), _widened(other, width)
        inputs[name] = np.concatenate([values, other])
    none = first.mask & False, second.mask & False
    return Samples(
        inputs,
        np.concatenate([_widened(first.labels, width), _widened(second.labels, width)]),
        np.concatenate([_widened(first.mask, width), _widened(second.mask, width)]),
        first.batch_size,
        _joined((first.weight, second.weight), (first.mask, second.mask), width),
        first.pool,
        _joined((first.offset, second.offset), none, width),
        _joined((first.unmined, second.unmined), none, width),
    )


def _by_candidate(name: str) -> bool:
    """Whether an input has a candidate axis: those of the request alone have none."""
    return name.partition(".")[0] in ("item", "route")


def _joined(
    given: tuple[NDArray[Value] | None, NDArray[Value] | None], else_: tuple[NDArray[Any], NDArray[Any]], width: int
) -> NDArray[Value] | None:
    """What both are given, or what stands for what one of them lacks; nothing if both lack it."""
    kind = next((values.dtype for values in given if values is not None), None)
    if kind is None:
        return None
    own = [other.astype(kind) if values is None else values for values, other in zip(given, else_, strict=True)]
    return np.concatenate([_widened(values, width) for values in own])


def _widened(values: NDArray[Any], width: int) -> NDArray[Any]:
    return np.pad(values, [(0, 0), (0, width - values.shape[1]), *[(0, 0)] * (values.ndim - 2)])


def as_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Arrays as tensors, sharing memory where they are writable and contiguous."""
    tensors: dict[str, Any] = {name: torch.from_numpy(np.require(v, None, ["C", "W"])) for name, v in arrays.items()}
    return tensors
