"""The route contract: `fit(config, data, context) -> Retriever`.

A route's module trains on `TrainingData` and gives back what serves. Same seed, same machine, same bytes. A user
without events, and an item that no event names, must not disturb it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from recsys.data.config import ColumnKind
from recsys.features.batch import Arrays, Field, InputSpec
from recsys.features.history import Histories
from recsys.retrieval.base import Retriever

__all__ = ["FitContext", "ItemColumn", "RouteModule", "TrainingData"]


@dataclass(frozen=True, slots=True)
class ItemColumn:
    """A column of the items table as it was ingested.

    Attributes:
        name: as the configuration has it.
        kind: what the values are.
        values: `(N,)` by item code, of the type of `KIND_TYPES`; null where an item has none.
    """

    name: str
    kind: ColumnKind
    values: pa.Array


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a route is fitted on.

    Attributes:
        histories: the positive events of the training windows, E of them, by user and in order.
        time: `(E,)` int64 microseconds of each event of `histories`; zeros where the log has no time.
        user_features: encoded `user.*` arrays `(U, …)`.
        item_features: encoded `item.*` arrays `(N, …)`.
        user_fields: their fields, in order.
        item_fields: their fields, in order.
        n_items: N, items of the catalogue.
        ordered: whether the events of a user are in order.
        now: the last moment of the training windows, microseconds.
        item_columns: what the items table says, for routes whose settings say that they read it.
    """

    histories: Histories
    time: NDArray[np.int64]
    user_features: Arrays
    item_features: Arrays
    user_fields: tuple[Field, ...]
    item_fields: tuple[Field, ...]
    n_items: int
    ordered: bool
    now: int
    item_columns: tuple[ItemColumn, ...] = ()

    @property
    def counts(self) -> NDArray[np.int64]:
        """`(N,)` events of each item."""
        return np.bincount(self.histories.items, minlength=self.n_items)

    def seen(self) -> sparse.csr_array:
        """`(U, N)` float64: 1 where the user has an event of the item, however many."""
        items, offsets = self.histories.items, self.histories.offsets
        # Duplicates are summed in place, and the histories are not ours to change.
        seen = sparse.csr_array(
            (np.ones(len(items)), items, offsets), shape=(len(self.histories), self.n_items), copy=True
        )
        seen.sum_duplicates()
        seen.data[:] = 1.0
        return seen


@dataclass(frozen=True, slots=True)
class FitContext:
    """What a route may use besides the data.

    Attributes:
        seed: of all its randomness.
        folder: an empty folder that is thrown away afterwards.
        log: takes a point of a curve: name, value, step.
        say: takes a line for whoever watches.
        export: writes a query tower as an ONNX graph, if the two agree: module, its inputs, path.
        unfinished: a folder that a route finds as it left it when it was killed and is fitted again; see `train`.
    """

    seed: int
    folder: Path
    log: Callable[[str, float, int], None]
    say: Callable[[str], None]
    export: Callable[[Any, InputSpec, Path], None]
    unfinished: Path | None = None


class RouteModule(Protocol):
    """A module of this package that holds a route."""

    def fit(self, config: Any, data: TrainingData, context: FitContext) -> Retriever:  # noqa: ANN401
        """Fits the route; fitting again forgets the first time."""
        ...
