"""How long each recall route takes to answer one request."""

from time import perf_counter

import numpy as np

from recsys.features.batch import QueryBatch
from recsys.funnel.candidates import CandidateGenerator

__all__ = ["route_latencies"]

_REQUESTS = 30


def route_latencies(generator: CandidateGenerator, queries: QueryBatch, rng: np.random.Generator) -> dict[str, float]:
    """Median milliseconds by route, one request at a time, withheld items taken out, in the thread that calls.

    Times differ from run to run, so they belong in logs and trackers, not in a report.

    Args:
        generator: of the funnel that serves.
        queries: Q requests, 1 or more; some are asked.
        rng: chooses them.
    """
    chosen = rng.choice(len(queries), min(_REQUESTS, len(queries)), replace=False)
    taken: dict[str, list[float]] = {name: [] for name in generator.retrievers}
    for row in chosen:
        for name in taken:
            alone = generator.only(name)
            # A batch of its own, for what a route works out once a batch.
            asked = queries.take(np.array([row]))
            start = perf_counter()
            alone.lists(asked)
            taken[name].append(1000 * (perf_counter() - start))
    return {name: float(np.median(times)) for name, times in taken.items()}
