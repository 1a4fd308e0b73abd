import math

import numpy as np
import pytest

from recsys.evaluation.truth import Truth, judge

USERS, ITEMS, AT = 7, 30, 10


@pytest.fixture
def truth():
    rng = np.random.default_rng(1)
    return Truth(rng.normal(size=(USERS, 4)).astype(np.float32), rng.normal(size=(ITEMS, 4)).astype(np.float32))


def probability(truth, user, item):
    return 0.0 if item < 0 else 1 / (1 + math.exp(-float(truth.users[user] @ truth.items[item])))


def dcg(gains):
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


def lists(rng, width=AT):
    return np.stack([rng.permutation(ITEMS)[:width] for _ in range(USERS)]).astype(np.int32)


def test_shares_and_regret_are_those_of_the_plain_loops(truth):
    rng = np.random.default_rng(2)
    top = {"route.a": lists(rng), "funnel": lists(rng)}
    top["funnel"][3, 6:] = -1
    users = np.array([4, 0, 1, 6, 5, 2, 3])
    found = judge(truth, users, top, rng, resamples=50)
    best = [sorted((probability(truth, user, item) for item in range(ITEMS)), reverse=True)[:AT] for user in users]
    for stage, codes in top.items():
        gains = [[probability(truth, u, i) for i in row] for u, row in zip(users, codes, strict=True)]
        shares = [dcg(gain) / dcg(ideal) for gain, ideal in zip(gains, best, strict=True)]
        assert found.ndcg[stage].mean == pytest.approx(np.mean(shares), rel=1e-5)
        assert found.ndcg[stage].low <= found.ndcg[stage].mean <= found.ndcg[stage].high
    funnel = [[probability(truth, u, i) for i in row] for u, row in zip(users, top["funnel"], strict=True)]
    assert found.regret.mean == pytest.approx(np.mean(best) - np.mean(funnel), rel=1e-4)


def test_the_oracle_itself_has_no_regret(truth):
    users = np.arange(USERS)
    own = np.argsort(-(truth.users @ truth.items.T), axis=1)[:, :AT].astype(np.int32)
    found = judge(truth, users, {"funnel": own}, np.random.default_rng(0), resamples=20)
    assert found.ndcg["funnel"].mean == pytest.approx(1.0, abs=1e-6)
    assert found.regret.mean == pytest.approx(0.0, abs=1e-6)


def test_a_catalogue_smaller_than_the_list(truth):
    small = Truth(truth.users, truth.items[:4])
    best = small.best(np.array([2]), AT)
    expected = sorted((probability(small, 2, item) for item in range(4)), reverse=True)
    np.testing.assert_allclose(best[0], [*expected, *[0] * 6], rtol=1e-5)
