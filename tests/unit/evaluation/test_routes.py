"""What routes are worth, against sets and loops."""

import numpy as np
import pytest
from scipy import sparse

from recsys.bundle.format import FusionSpec, Policy
from recsys.evaluation.routes import judge_routes
from recsys.features.batch import QueryBatch
from recsys.features.history import Requests
from recsys.funnel.candidates import CandidateGenerator
from recsys.retrieval.neighbours import NeighboursRetriever
from recsys.retrieval.static import StaticRetriever

ITEMS, REQUESTS, DEPTH, KEPT = 40, 60, 8, 6
RNG = np.random.default_rng(1)
WEIGHTS = (RNG.random((ITEMS, ITEMS)) * (RNG.random((ITEMS, ITEMS)) < 0.4)).astype(np.float32)
POPULAR = RNG.random(ITEMS).astype(np.float32)
FUSION = {"neighbours": 1.0, "popular": 0.5, "twin": 0.5, "silent": 0.0}


def generator(routes):
    made = {
        "neighbours": NeighboursRetriever(sparse.csr_matrix(WEIGHTS)),
        "popular": StaticRetriever(POPULAR),
        "twin": StaticRetriever(POPULAR * 2),
        "silent": StaticRetriever(POPULAR[::-1].copy()),
    }
    weights = {name: FUSION[name] for name in routes}
    spec = FusionSpec(k=5, weights=weights, per_route=DEPTH, candidates=KEPT)
    return CandidateGenerator({name: made[name] for name in routes}, spec, Policy(exclude_seen="always", recent=50))


@pytest.fixture(scope="module")
def asked():
    history = np.stack([RNG.choice(ITEMS, 3, replace=False) for _ in range(REQUESTS)]).astype(np.int32)
    positives = [
        np.sort(RNG.choice(np.setdiff1d(np.arange(ITEMS), row), RNG.integers(1, 4), replace=False)) for row in history
    ]
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in positives])])
    nobody = np.zeros(REQUESTS, np.int64)
    requests = Requests(nobody.astype(np.int32), nobody, offsets, np.concatenate(positives).astype(np.int32), nobody)
    return requests, QueryBatch(history, np.full(REQUESTS, 3, np.int32), {}), positives


def judged(routes, asked):
    requests, queries, _ = asked
    return judge_routes(generator(routes), requests, queries, np.random.default_rng(0), resamples=200)


def test_figures_are_those_of_sets(asked):
    names = ("neighbours", "popular", "twin")
    _, queries, positives = asked
    lists = {name: codes for name, (codes, _) in generator(names).lists(queries).items()}
    sets = {name: [set(row[row >= 0].tolist()) for row in codes] for name, codes in lists.items()}
    total = sum(map(len, positives))
    found = judged(names, asked)
    for at, route in enumerate(found.routes):
        own = sets[route.name]
        others = [set().union(*(sets[o][q] for o in names if o != route.name)) for q in range(REQUESTS)]
        hits = [set(p.tolist()) & own[q] for q, p in enumerate(positives)]
        assert route.found == pytest.approx(sum(map(len, hits)) / total)
        assert route.unique == pytest.approx(sum(len(h - others[q]) for q, h in enumerate(hits)) / total)
        for other, name in enumerate(names):
            shares = [len(own[q] & sets[name][q]) / len(own[q]) for q in range(REQUESTS) if own[q]]
            assert found.overlap[at, other] == pytest.approx(np.mean(shares))


def test_what_a_route_adds_is_the_fused_list_less_the_one_without_it(asked):
    _, queries, positives = asked
    whole = generator(("neighbours", "popular")).generate(queries).codes
    without = generator(("popular",)).generate(queries).codes

    def recall(codes):
        return np.mean(
            [len(set(p.tolist()) & set(row.tolist())) / len(p) for p, row in zip(positives, codes, strict=True)]
        )

    found = judged(("neighbours", "popular"), asked).routes[0]
    assert found.recall.mean == pytest.approx(recall(whole) - recall(without))


def test_a_route_that_adds_nothing_is_named(asked):
    values = judged(("neighbours", "popular", "silent"), asked)
    silent = values.routes[2]
    assert (silent.recall.mean, silent.ndcg.mean) == (0, 0)
    assert "silent" in values.dispensable


def test_one_route_alone_is_not_judged(asked):
    assert judged(("popular",), asked) is None
