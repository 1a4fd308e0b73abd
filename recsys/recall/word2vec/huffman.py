"""Huffman codes of tokens: the binary decisions of the hierarchical softmax."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["HuffmanPaths", "huffman_paths"]


@dataclass(frozen=True, slots=True)
class HuffmanPaths:
    """The way from the root to each token.

    Attributes:
        offsets: `(N + 1,)` int64; the path of token t is `offsets[t]:offsets[t + 1]`, empty without a count.
        nodes: int32 inner nodes on the way, root first, numbered from 0 by when they were merged.
        turns: float32 1 where the way turns to the lighter child, 0 where to the heavier: the label of the decision.
        n_nodes: inner nodes, one fewer than tokens in the tree.
    """

    offsets: NDArray[np.int64]
    nodes: NDArray[np.int32]
    turns: NDArray[np.float32]
    n_nodes: int


def huffman_paths(counts: NDArray[np.int64]) -> HuffmanPaths:
    """The paths of an optimal prefix code by count (Huffman 1952; Mikolov 2013b, section 2.1).

    Takes N·log N time, and 8 bytes for each of the Σ path lengths, about log₂ of the perplexity of the counts a token.

    Args:
        counts: `(N,)`; a token of count 0 is not in the tree. A single token has the empty path.
    """
    tokens = np.flatnonzero(counts > 0)
    tokens = tokens[np.argsort(counts[tokens], kind="stable")]
    levels = list(_levels(*_merge(counts[tokens]), len(tokens)))
    lengths = np.zeros(len(counts), dtype=np.int64)
    for leaves, _, _ in levels:
        lengths[tokens[leaves]] += 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    nodes = np.empty(offsets[-1], dtype=np.int32)
    turns = np.empty(offsets[-1], dtype=np.float32)
    # Levels climb from the leaves, so each writes one place before the last.
    for up, (leaves, inner, turn) in enumerate(levels, start=1):
        places = offsets[tokens[leaves] + 1] - up
        nodes[places] = inner
        turns[places] = turn
    return HuffmanPaths(offsets, nodes, turns, max(len(tokens) - 1, 0))


def _merge(weights: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Parents of the leaves, in order of weight, and of the inner nodes after them; whether each is the lighter child.

    Two queues, both in order: leaves, and merged nodes, which come out ever heavier.
    """
    size = len(weights)
    weight = [*weights.tolist(), *([0] * max(size - 1, 0))]
    parents = np.full(len(weight), -1, dtype=np.int64)
    lighter = np.zeros(len(weight), dtype=np.float32)
    leaf, merged = 0, size
    for node in range(size, len(weight)):
        pair = []
        for _ in range(2):
            if merged == node or (leaf < size and weight[leaf] <= weight[merged]):
                pair.append(leaf)
                leaf += 1
            else:
                pair.append(merged)
                merged += 1
        weight[node] = weight[pair[0]] + weight[pair[1]]
        parents[pair] = node
        lighter[pair[0]] = 1.0
    return parents, lighter


def _levels(
    parents: NDArray[np.int64], lighter: NDArray[np.float32], size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """One step of all leaves towards the root at a time: leaves not there yet, the inner node they reach, the turn."""
    leaves = np.arange(size)
    at = leaves
    while True:
        climbing = parents[at] >= 0
        leaves, at = leaves[climbing], at[climbing]
        if not len(leaves):
            return
        turn, at = lighter[at], parents[at]
        yield leaves, at - size, turn
