"""DeepWalk and Node2Vec: vectors of random walks over the graph of items (Perozzi 2014; Grover & Leskovec 2016)."""

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.item2vec import fit_vectors
from recsys.recall.pairs import inverse_power, together
from recsys.recall.settings.sequences import DeepWalkConfig, Node2VecConfig
from recsys.recall.word2vec.corpus import Chunk
from recsys.retrieval.base import Retriever

__all__ = ["WalkCorpus", "fit", "item_graph"]

_EDGES = 100
"""Edges kept of each item where histories have no order and every pair of items is one."""
_STARTS = 1 << 14
"""Walks drawn together."""


def fit(config: DeepWalkConfig | Node2VecConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Trains on walks; see `recsys.recall.word2vec.train`.

    Takes memory for the edges of the graph, and time in N · walks · walk_length. Walks are drawn anew in every epoch.

    Raises:
        DataError: there is no edge.
    """
    p, q = (config.p, config.q) if isinstance(config, Node2VecConfig) else (1.0, 1.0)
    corpus = WalkCorpus(
        item_graph(data, config.popularity_penalty),
        walks=config.walks,
        length=config.walk_length,
        p=p,
        q=q,
        seed=context.seed,
    )
    return fit_vectors(config, corpus, data, context)


def item_graph(data: TrainingData, popularity_penalty: float) -> sparse.csr_array:
    """`(N, N)` weights of the edges, both ways: how often two items follow one another, over count^penalty of the end.

    Where histories have no order, how many users have both, for the 100 strongest of each item.
    """
    if data.ordered:
        items = data.histories.items
        owner = np.repeat(np.arange(len(data.histories)), data.histories.counts)
        at = np.flatnonzero((owner[1:] == owner[:-1]) & (items[1:] != items[:-1])) + 1
        pairs = (np.concatenate([items[at - 1], items[at]]), np.concatenate([items[at], items[at - 1]]))
        graph = sparse.csr_array((np.ones(len(pairs[0])), pairs), shape=(data.n_items, data.n_items))
    else:
        weights = together(data, user_penalty=0.5, row_penalty=0.0, column_penalty=0.0, count=_EDGES)
        graph = sparse.csr_array(weights.maximum(weights.T))
    graph = sparse.csr_array(graph @ sparse.diags_array(inverse_power(data.counts, popularity_penalty)))
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph


class WalkCorpus:
    """Random walks, drawn as they are read: each pass starts `walks` times at every item that has an edge.

    From v, having come from t, the next item x is drawn by the weight of (v, x), times 1/p if x is t, 1 if x is a
    neighbour of t, 1/q otherwise (Grover 2016, section 3.2.2). Alias tables of each item's edges give a proposal that
    is taken with that factor over its largest value, so that no table for every pair of edges is needed (Yang 2019).

    Args:
        graph: `(N, N)` weights above 0, indices sorted.
        walks: from every item.
        length: items of a walk.
        p: going back is this much less likely.
        q: going further away is this much less likely.
        seed: of all draws.
    """

    def __init__(self, graph: sparse.csr_array, *, walks: int, length: int, p: float, q: float, seed: int) -> None:
        self._offsets = graph.indptr.astype(np.int64)
        self._ends = graph.indices.astype(np.int32)
        self._keep, self._alias = _aliases(self._offsets, graph.data.astype(np.float64))
        self._walks = walks
        self._length = length
        self._factors = np.array([1 / p, 1.0, 1 / q]) / max(1 / p, 1.0, 1 / q)
        self._rng = np.random.default_rng(seed)

    def chunks(self) -> Iterator[Chunk]:
        """Walks from all items in random order."""
        connected = np.flatnonzero(np.diff(self._offsets)).astype(np.int32)
        starts = self._rng.permutation(np.tile(connected, self._walks))
        for at in range(0, len(starts), _STARTS):
            part = starts[at : at + _STARTS]
            seed = int(self._rng.integers(2**31))
            walks = _walk(part, self._length, self._offsets, self._ends, self._keep, self._alias, self._factors, seed)
            yield Chunk(walks.reshape(-1), np.arange(len(part) + 1, dtype=np.int64) * self._length)


@numba.njit(nogil=True)
def _aliases(offsets: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Alias tables of the edges of each item (Vose 1991): how probably a slot keeps its edge, and which it has else."""
    keep = np.ones(len(weights))
    alias = np.zeros(len(weights), np.int32)
    waiting = np.empty(len(weights), np.int64)
    for item in range(len(offsets) - 1):
        begin, end = offsets[item], offsets[item + 1]
        count = end - begin
        total = weights[begin:end].sum()
        low, high = 0, count
        # Slots with too little from the front, those with too much from the back.
        for slot in range(count):
            keep[begin + slot] = weights[begin + slot] * count / total
            if keep[begin + slot] < 1:
                waiting[low] = slot
                low += 1
            else:
                high -= 1
                waiting[high] = slot
        while low > 0 and high < count:
            low -= 1
            poor, rich = waiting[low], waiting[high]
            alias[begin + poor] = rich
            keep[begin + rich] -= 1 - keep[begin + poor]
            if keep[begin + rich] < 1:
                high += 1
                waiting[low] = rich
                low += 1
    return keep, alias


@numba.njit(nogil=True)
def _walk(
    starts: NDArray[np.int32],
    length: int,
    offsets: NDArray[np.int64],
    ends: NDArray[np.int32],
    keep: NDArray[np.float64],
    alias: NDArray[np.int32],
    factors: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int32]:
    """`(S, length)` walks."""
    np.random.seed(seed)
    walks = np.empty((len(starts), length), np.int32)
    for walk in range(len(starts)):
        before, at = -1, starts[walk]
        walks[walk, 0] = at
        for step in range(1, length):
            begin = offsets[at]
            count = offsets[at + 1] - begin
            while True:
                slot = np.random.randint(count)
                if np.random.random() >= keep[begin + slot]:
                    slot = alias[begin + slot]
                found = ends[begin + slot]
                if before < 0:
                    break
                if found == before:
                    factor = factors[0]
                else:
                    near = ends[offsets[before] : offsets[before + 1]]
                    place = np.searchsorted(near, found)
                    factor = factors[1] if place < len(near) and near[place] == found else factors[2]
                if factor >= 1 or np.random.random() < factor:
                    break
            walks[walk, step] = found
            before, at = at, found
    return walks
