"""How long routes take, with routes that take a known time."""

from time import sleep

import numpy as np

from recsys.bundle.format import FusionSpec, Policy
from recsys.evaluation.latency import route_latencies
from recsys.features.batch import QueryBatch
from recsys.funnel.candidates import CandidateGenerator
from recsys.retrieval.static import StaticRetriever


class Slow(StaticRetriever):
    def __init__(self, seconds):
        super().__init__(np.ones(5, np.float32))
        self.seconds, self.asked = seconds, []

    def retrieve(self, queries, k, *, allowed=None):
        self.asked.append(len(queries))
        sleep(self.seconds)
        return super().retrieve(queries, k, allowed=allowed)


def test_the_time_of_each_route_alone_a_request_at_a_time():
    routes = {"slow": Slow(0.02), "fast": Slow(0.002)}
    fusion = FusionSpec(weights={"slow": 1.0, "fast": 0.0}, per_route=5, candidates=5)
    generator = CandidateGenerator(routes, fusion, Policy(exclude_seen="always"))
    queries = QueryBatch(np.array([[1], [2], [3]], np.int32), np.ones(3, np.int32), {})
    found = route_latencies(generator, queries, np.random.default_rng(0))
    assert list(found) == ["slow", "fast"]
    assert found["slow"] >= 20
    assert 2 <= found["fast"] < found["slow"]
    assert all(route.asked == [1, 1, 1] for route in routes.values())
