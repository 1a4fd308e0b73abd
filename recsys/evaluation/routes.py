"""What each recall route is worth beside the others: so that one sees which to drop."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation.results import AT, RouteValue, RouteValues
from recsys.features.batch import Codes, Floats, QueryBatch
from recsys.features.history import Requests
from recsys.funnel.candidates import CandidateGenerator, contains
from recsys.metrics.bootstrap import paired
from recsys.metrics.ranking import ndcg_at_k, recall_at_k, relevance
from recsys.retrieval.fusion import fuse

__all__ = ["judge_routes"]

Lists = Mapping[str, tuple[Codes, Floats]]
_REQUESTS = 4096
"""Requests looked at: every route is left out once, and more would change the third digit of a difference."""
_CHUNK = 1024


def judge_routes(
    generator: CandidateGenerator,
    requests: Requests,
    queries: QueryBatch,
    rng: np.random.Generator,
    *,
    resamples: int,
) -> RouteValues | None:
    """Asks every route, and fuses the lists with each route left out, the other weights unchanged.

    Args:
        generator: of the funnel that serves.
        requests: Q requests; of many, a sample is looked at.
        queries: the same requests.
        rng: draws the sample and resamples.
        resamples: behind every interval.

    Returns:
        `None` where there is one route only.
    """
    names = tuple(generator.retrievers)
    if len(names) < 2:
        return None
    chosen = np.sort(rng.choice(len(requests), min(_REQUESTS, len(requests)), replace=False))
    parts = [
        _chunk(generator, requests.take(rows), queries.take(rows))
        for rows in np.array_split(chosen, -(-len(chosen) // _CHUNK))
    ]
    hits, unique, overlap, quality = (np.concatenate([part[i] for part in parts]) for i in range(4))
    positives = int(requests.counts[chosen].sum())
    routes = tuple(
        RouteValue(
            name=name,
            found=float(hits[:, at].sum() / positives),
            unique=float(unique[:, at].sum() / positives),
            recall=paired(quality[:, 0, 0], quality[:, at + 1, 0], rng, resamples=resamples),
            ndcg=paired(quality[:, 0, 1], quality[:, at + 1, 1], rng, resamples=resamples),
        )
        for at, name in enumerate(names)
    )
    return RouteValues(len(chosen), generator.fusion.candidates, routes, _mean(overlap))


def _chunk(
    generator: CandidateGenerator, requests: Requests, queries: QueryBatch
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """What B requests say of R routes.

    Returns:
        Hits `(B, R)`, those of one route alone `(B, R)`, overlap `(B, R, R)`, and recall and NDCG of the fused list,
        whole and without each route, `(B, R + 1, 2)`.
    """
    lists = generator.lists(queries)
    hits = {name: relevance(codes, requests.offsets, requests.positives) for name, (codes, _) in lists.items()}
    alone = [
        hits[name] & ~_elsewhere(codes, [other for key, (other, _) in lists.items() if key != name])
        for name, (codes, _) in lists.items()
    ]
    shared = [np.stack([_shared(own, other) for other, _ in lists.values()], axis=1) for own, _ in lists.values()]
    fused = [lists, *({key: kept for key, kept in lists.items() if key != name} for name in lists)]
    return (
        np.stack([found.sum(axis=1) for found in hits.values()], axis=1),
        np.stack([found.sum(axis=1) for found in alone], axis=1),
        np.stack(shared, axis=1),
        np.stack([_quality(generator, each, requests) for each in fused], axis=1),
    )


def _quality(generator: CandidateGenerator, lists: Lists, requests: Requests) -> NDArray[np.float64]:
    """`(B, 2)` recall of all fused candidates, and NDCG@10."""
    fusion = generator.fusion
    codes = fuse(lists, fusion).codes
    found = relevance(codes, requests.offsets, requests.positives)
    counts = requests.counts
    return np.stack([recall_at_k(found, counts, fusion.candidates), ndcg_at_k(found, counts, AT)], axis=1)


def _elsewhere(codes: Codes, others: list[Codes]) -> NDArray[np.bool_]:
    """`(B, K)` whether any other list of the request holds the item."""
    return contains(np.concatenate(others, axis=1), codes)


def _shared(codes: Codes, other: Codes) -> NDArray[np.float64]:
    """`(B,)` share of the items of a list that another holds; NaN for an empty list."""
    length = (codes >= 0).sum(axis=1)
    share = contains(other, codes).sum(axis=1) / np.maximum(length, 1)
    return np.where(length > 0, share, np.nan)


def _mean(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the requests that have a share; 0 where none has."""
    known = np.isfinite(shares)
    mean: NDArray[np.float64] = np.where(known, shares, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean
