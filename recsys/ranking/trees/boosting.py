"""Trees grown one after another until they help no more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import InputSpec
from recsys.features.onnx import OnnxGraph
from recsys.ranking.trees.forest import Forest, table_graph
from recsys.ranking.trees.table import TableLayout
from recsys.training.batches import Samples

__all__ = ["Boosting", "Rows", "boosted", "rows_of", "run_graph"]

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled candidates, those of a request one after another.

    Attributes:
        layout: of the columns.
        table: `(n, F)`.
        labels: `(n,)`.
        weight: `(n,)` how much each counts; `None`: all the same.
        groups: `(Q,)` candidates of each request; none is 0.
        offset: `(n,)` added to the scores before the loss sees them; `None`: nothing is.
    """

    layout: TableLayout
    table: Table
    labels: NDArray[np.float32]
    weight: NDArray[np.float32] | None
    groups: NDArray[np.int64]
    offset: NDArray[np.float32] | None = None

    @property
    def base(self) -> float:
        """Log-odds that the labels have before anything is known of a row."""
        rate = float(np.clip(np.average(self.labels, weights=self.weight), 1e-4, 1 - 1e-4))
        return float(np.log(rate / (1 - rate))) - (0.0 if self.offset is None else float(self.offset.mean()))


def rows_of(samples: Samples, spec: InputSpec) -> Rows:
    """Samples as trees read them, by the graph that makes the table when they are served."""
    table = run_graph(table_graph(spec), samples)[samples.mask.ravel()]
    counts = samples.mask.sum(axis=1)
    weight, offset = (None if v is None else v[samples.mask] for v in (samples.weight, samples.offset))
    return Rows(TableLayout.of(spec), table, samples.labels[samples.mask], weight, counts[counts > 0], offset)


def run_graph(content: bytes, samples: Samples) -> NDArray[np.float32]:
    """What a graph gives for all samples, one batch after another."""
    graph = OnnxGraph(content)
    parts = []
    for start in range(0, len(samples.labels), samples.batch_size):
        rows = slice(start, start + samples.batch_size)
        parts.append(graph.run({name: np.ascontiguousarray(samples.inputs[name][rows]) for name in graph.inputs}))
    return np.concatenate(parts)


class Boosting(Protocol):
    """Trees of one library."""

    def grow(self) -> bool:
        """Adds a tree; false if no tree could be added any more."""
        ...

    def newest(self, table: Table) -> NDArray[np.float64]:
        """`(n,)` what the newest tree adds."""
        ...

    def numbers(self, table: Table, trees: int) -> NDArray[np.integer[Any]]:
        """`(n, trees)` numbers of the leaves that the first trees lead to."""
        ...

    def forest(self, trees: int) -> Forest:
        """The first trees."""
        ...


def boosted(
    boosting: Boosting,
    most: int,
    patience: int,
    *,
    judged: Callable[[NDArray[np.float64], int], float] | None,
    table: Table,
) -> int:
    """Grows trees, and says how many are best.

    Args:
        boosting: without trees.
        most: trees to grow.
        patience: trees without a better figure before it stops.
        judged: the figure of the scores `(n,)` of a number of trees, larger being better; `None` grows all of them,
            and so does a figure that is NaN throughout.
        table: `(n, F)` what is judged.

    Returns:
        The number of trees to keep, at least 1.
    """
    scores, best, kept = np.zeros(len(table)), np.nan, 1
    for trees in range(1, most + 1):
        if not boosting.grow():
            return kept if judged else max(trees - 1, 1)
        if judged is None:
            continue
        scores += boosting.newest(table)
        figure = judged(scores, trees)
        if np.isnan(best) or figure > best:
            best, kept = figure, trees
        elif trees - kept >= patience:
            return kept
    return kept if judged else most
