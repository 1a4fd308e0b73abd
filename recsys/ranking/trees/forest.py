"""Grown trees, whoever grew them, and their graph."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from recsys.features.batch import InputSpec
from recsys.ranking.trees.table import Nodes, table_nodes

__all__ = ["Branch", "Forest", "forest_graph", "table_graph"]

_AT_MOST, _BELOW, _MEMBER = 0, 1, 6
"""Modes of a node in ONNX's TreeEnsemble: left if the number is at most, or below, the threshold, or in the set."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Which way a row goes.

    Attributes:
        column: of the table.
        threshold: left at most this, unless there are categories.
        below: left below the threshold instead.
        categories: left if the column holds one of them.
    """

    column: int
    threshold: float = 0.0
    below: bool = False
    categories: tuple[int, ...] = ()


@dataclass(slots=True)
class Forest:
    """Trees whose leaves are added up.

    Attributes:
        bias: added to the sum.
        leaves: what each leaf says; leaves of all trees one after another.
        numbers: for each tree, the place among `leaves` of the leaf that its library gives a number.
        branches: of all trees, each tree's root before the rest of it.
        children: of each branch, left and right: places among `branches`, or −1 − place among `leaves`.
        roots: of each tree, as a child is.
    """

    bias: float = 0.0
    leaves: list[float] = field(default_factory=list)
    numbers: list[dict[int, int]] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    children: list[tuple[int, int]] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)

    def branch(self, branch: Branch) -> int:
        """Adds a branch without children and gives its place."""
        self.branches.append(branch)
        self.children.append((0, 0))
        return len(self.branches) - 1

    def leaf(self, number: int, value: float) -> int:
        """Adds a leaf of the newest tree, by its number there, and gives it as a child."""
        self.numbers[-1][number] = len(self.leaves)
        self.leaves.append(value)
        return -len(self.leaves)

    def saying(self, leaves: Sequence[float], bias: float) -> "Forest":
        """The same trees with other leaves."""
        return replace(self, leaves=list(leaves), bias=bias)

    def places(self, numbers: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Numbers of leaves `(n, trees)`, as a library gives them, to places among `leaves`."""
        found = np.empty(numbers.shape, dtype=np.int32)
        for tree, known in enumerate(self.numbers):
            places = np.zeros(max(known) + 1, dtype=np.int32)
            places[list(known)] = list(known.values())
            found[:, tree] = places[numbers[:, tree]]
        return found


def table_graph(spec: InputSpec) -> bytes:
    """A graph that makes the table `(B·C, F)` of model inputs."""
    graph = Nodes(spec)
    table_nodes(graph)
    return graph.graph("table", ["N", "F"])


def forest_graph(forest: Forest, spec: InputSpec) -> bytes:
    """A graph from model inputs to logits `(B, C, 1)`.

    Args:
        forest: over the columns of `TableLayout.of(spec)`.
        spec: the inputs.
    """
    graph = Nodes(spec)
    table, sizes = table_nodes(graph)
    roots = [root for root in forest.roots if root >= 0]
    constant = forest.bias + sum(forest.leaves[-1 - root] for root in forest.roots if root < 0)
    scores = _ensemble(graph, forest, roots, table) if roots else _nothing(graph, table)
    scores = graph.add("Add", scores, graph.constant([constant], np.float32))
    graph.add("Reshape", scores, graph.add("Concat", sizes, graph.constant([1], np.int64), axis=0))
    return graph.graph("logits", ["B", "C", 1])


def _nothing(graph: Nodes, table: str) -> str:
    """A zero for each row: no tree has a branch."""
    total = graph.add("ReduceSum", table, graph.constant([1], np.int64))
    return graph.add("Sub", total, total)


def _ensemble(graph: Nodes, forest: Forest, roots: list[int], table: str) -> str:
    modes = [_MEMBER if b.categories else _BELOW if b.below else _AT_MOST for b in forest.branches]
    members = [value for b in forest.branches if b.categories for value in (*b.categories, np.nan)]
    sides = [[side if side >= 0 else -1 - side for side in way] for way in zip(*forest.children, strict=True)]
    ends = [[int(side < 0) for side in way] for way in zip(*forest.children, strict=True)]
    tensors: dict[str, Any] = {
        "nodes_modes": np.array(modes, dtype=np.uint8),
        "nodes_splits": np.array([_single(b) for b in forest.branches], dtype=np.float32),
        "leaf_weights": np.array(forest.leaves, dtype=np.float32),
    }
    if members:
        tensors["membership_values"] = np.array(members, dtype=np.float32)
    return graph.add(
        "TreeEnsemble",
        table,
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,
        post_transform=0,
        tree_roots=roots,
        nodes_featureids=[b.column for b in forest.branches],
        nodes_truenodeids=sides[0],
        nodes_trueleafs=ends[0],
        nodes_falsenodeids=sides[1],
        nodes_falseleafs=ends[1],
        leaf_targetids=[0] * len(forest.leaves),
        **{name: numpy_helper.from_array(values) for name, values in tensors.items()},
    )


def _single(branch: Branch) -> np.float32:
    """The threshold in single precision, so that the same numbers of that precision go left.

    At most t: as at most the largest single-precision number that is. Below t: t is of single precision.
    """
    threshold, rounded = branch.threshold, np.float32(branch.threshold)
    if branch.below:
        return rounded
    # As Python's numbers: numpy would round the threshold before it compares the two.
    return np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded
