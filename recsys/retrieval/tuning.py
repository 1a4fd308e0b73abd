"""An index by the number of items, with as much effort as a declared recall takes."""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from recsys.features.batch import Codes, Floats
from recsys.retrieval.config import AutoIndex, FlatIndex, HNSWIndex, IndexSpec, IVFIndex, IVFPQIndex
from recsys.retrieval.index import FLAT, Metric, VectorIndex
from recsys.retrieval.structures import EXACT_BELOW, effort

__all__ = ["tuned"]

_EXACT, _GRAPH = 50_000, 1_000_000
"""Up to so many items: exact search, a graph."""
_TIMED = 20

_Log = Callable[[str, float, int], None]


def tuned(
    vectors: Floats,
    queries: Floats,
    config: AutoIndex,
    *,
    log: _Log,
    say: Callable[[str], None],
    metric: Metric = "inner_product",
    seed: int = 0,
) -> VectorIndex:
    """The index with the least effort that finds `config.recall` of what exact search finds.

    Args:
        vectors: `(N, D)` of the items; zeros for unknown ones, which do not count.
        queries: `(Q, D)` to measure with: requests as they will come.
        config: what is asked for.
        log: takes what was measured: `recall`, `latency_ms` of a search for one request, `exact_latency_ms`.
        say: takes it in words.
        metric: what a score is.
        seed: of the structure.
    """
    exact = VectorIndex(vectors, FLAT, metric=metric)
    k = min(config.at, len(exact.vectors))
    expected, _ = exact.search(queries, k)
    exact_ms = _milliseconds(exact, queries, k)
    log("exact_latency_ms", exact_ms, 0)
    best, ms = exact, exact_ms
    for spec in _specs(len(exact.vectors), too_slow=config.latency_ms is not None and exact_ms > config.latency_ms):
        index = VectorIndex(vectors, spec, metric=metric, seed=seed)
        recall = _reach(index, queries, expected, config)
        if recall >= config.recall:
            best, ms = index, _milliseconds(index, queries, k)
            break
    recall = _recall(best, queries, expected)
    best.measured = {"recall": recall, "at": k, "requests": len(queries)}
    log("recall", recall, 0)
    log("latency_ms", ms, 0)
    say(
        f"index {best.spec.kind}: recall@{k} {recall:.3f} of exact search on {len(queries)} requests, "
        f"{ms:.2g} ms each (exact: {exact_ms:.2g} ms)"
    )
    if config.latency_ms is not None and ms > config.latency_ms:
        say(f"index: {ms:.2g} ms is above latency_ms = {config.latency_ms:g}; lower recall, or the vectors' length")
    return best


def _specs(items: int, *, too_slow: bool) -> list[IndexSpec]:
    """What to try one after the other before exact search."""
    if items < EXACT_BELOW or (items <= _EXACT and not too_slow):
        return []
    first: IndexSpec = HNSWIndex(kind="hnsw") if items <= _GRAPH else IVFPQIndex(kind="ivf_pq")
    return [first, IVFIndex(kind="ivf")]


def _reach(index: VectorIndex, queries: Floats, expected: Codes, config: AutoIndex) -> float:
    """Sets the least effort that reaches the recall, or the most there is, and returns the recall."""
    recall = 0.0
    for number in effort(index.spec, len(index.vectors)):
        index.set_effort(number)
        recall = _recall(index, queries, expected)
        if recall >= config.recall:
            break
    return recall


def _recall(index: VectorIndex, queries: Floats, expected: Codes) -> float:
    """Mean share of the expected `(Q, k)` that is found, over the requests that find anything."""
    if isinstance(index.spec, FlatIndex):
        return 1.0
    found, _ = index.search(queries, expected.shape[1])
    shares = [
        len(np.intersect1d(a[a >= 0], b[b >= 0])) / int((b >= 0).sum())
        for a, b in zip(found, expected, strict=True)
        if (b >= 0).any()
    ]
    return float(np.mean(shares)) if shares else 1.0


def _milliseconds(index: VectorIndex, queries: Floats, k: int) -> float:
    """Median of a search for one request."""
    taken = []
    for row in range(min(_TIMED, len(queries))):
        start = perf_counter()
        index.search(queries[row : row + 1], k)
        taken.append(1000 * (perf_counter() - start))
    return float(np.median(taken))
