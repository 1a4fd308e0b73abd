"""The generator against a brute force over dense scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.bundle.format import FusionSpec, Policy
from recsys.errors import ConfigError
from recsys.features.batch import QueryBatch
from recsys.funnel.candidates import CandidateGenerator, contains, keep_first, withheld

N = 30


class Dense:
    """A route that scores item j for a request by a random matrix row of its last item."""

    kind = "dense"

    def __init__(self, seed: int, never: tuple[int, ...] = ()):
        self.matrix = np.random.default_rng(seed).normal(size=(N + 1, N)).astype(np.float32)
        self.matrix[:, list(never)] = -np.inf
        self.asked: list[int] = []

    def all_scores(self, queries):
        last = queries.recent(1)[:, 0]
        return self.matrix[np.where(last >= 0, last, N)]

    def retrieve(self, queries, k, *, allowed=None):
        self.asked.append(k)
        scores = self.all_scores(queries).copy()
        if allowed is not None:
            scores[:, np.setdiff1d(np.arange(N), allowed)] = -np.inf
        codes = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
        values = np.take_along_axis(scores, codes, axis=1)
        codes[~np.isfinite(values)] = -1
        pad = ((0, 0), (0, k - codes.shape[1]))
        return np.pad(codes, pad, constant_values=-1), np.pad(values, pad, constant_values=-np.inf)

    def score(self, queries, codes):
        scores = np.take_along_axis(self.all_scores(queries), np.maximum(codes, 0), axis=1)
        return np.where(codes >= 0, scores, -np.inf).astype(np.float32)


def batch(histories):
    width = max(1, *(len(h) for h in histories))
    history = np.array([h + [-1] * (width - len(h)) for h in histories], dtype=np.int32)
    return QueryBatch(history, np.array([len(h) for h in histories], dtype=np.int32), {})


def generator(policy, per_route=5, candidates=8, never=()):
    retrievers = {"a": Dense(1, never), "b": Dense(2)}
    fusion = FusionSpec(k=60, weights={"a": 1.0, "b": 0.5}, per_route=per_route, candidates=candidates)
    return CandidateGenerator(retrievers, fusion, policy)


histories = st.lists(st.lists(st.integers(0, N - 1), max_size=20), min_size=1, max_size=6)
policies = st.builds(
    Policy, exclude_seen=st.sampled_from(["never", "always", "recent"]), recent=st.integers(min_value=1, max_value=4)
)


def hidden(history, policy):
    return {"never": set(), "always": set(history), "recent": set(history[-policy.recent :])}[policy.exclude_seen]


@settings(max_examples=60, deadline=None)
@given(histories, policies, st.one_of(st.none(), st.sets(st.integers(0, N - 1))), st.lists(st.integers(-1, N - 1)))
def test_lists_hold_the_best_items_that_policy_leaves(past, policy, allowed, blocked):
    made = generator(policy, never=(3, 4))
    queries = batch(past)
    choice = None if allowed is None else np.array(sorted(allowed), dtype=np.int32)
    lists = made.lists(queries, allowed=choice, blocked=np.tile(np.array(blocked, dtype=np.int32), (len(past), 1)))
    for name, (codes, scores) in lists.items():
        dense = made.retrievers[name].all_scores(queries)
        assert codes.shape == scores.shape == (len(past), 5)
        for row, history in enumerate(past):
            free = set(range(N)) if allowed is None else allowed
            free = {i for i in free - hidden(history, policy) - set(blocked) if np.isfinite(dense[row, i])}
            best = sorted(free, key=lambda i: (-dense[row, i], i))[:5]
            assert codes[row].tolist() == best + [-1] * (5 - len(best))
            assert scores[row, : len(best)].tolist() == [dense[row, i] for i in best]
            assert np.isneginf(scores[row, len(best) :]).all()


@settings(max_examples=20, deadline=None)
@given(histories, policies)
def test_a_batch_equals_one_at_a_time(past, policy):
    made = generator(policy)
    together = made.generate(batch(past))
    for row, history in enumerate(past):
        alone = made.generate(batch([history]))
        np.testing.assert_array_equal(together.codes[row], alone.codes[0])
        np.testing.assert_array_equal(together.scores[row], alone.scores[0])
        np.testing.assert_array_equal(together.ranks[:, row], alone.ranks[:, 0])


def test_fused_scores_are_weighted_reciprocal_ranks():
    made = generator(Policy(exclude_seen="always"))
    queries = batch([[1, 2, 3]])
    lists = made.lists(queries)
    expected: dict[int, float] = {}
    for name, weight in (("a", 1.0), ("b", 0.5)):
        for rank, code in enumerate(lists[name][0][0].tolist(), start=1):
            expected[code] = expected.get(code, 0.0) + weight / (60 + rank)
    fused = made.generate(queries)
    best = sorted(expected, key=lambda code: (-expected[code], code))[:8]
    assert fused.codes[0].tolist() == best
    ratios = fused.scores[0] / np.array([expected[code] for code in best])
    np.testing.assert_allclose(ratios, ratios[0], rtol=0.02)


def test_one_long_history_does_not_lengthen_the_lists_of_other_chunks():
    made = generator(Policy(exclude_seen="always"))
    made.generate(batch([[0] * 20] + [[1]] * 256))
    # Chunks are answered side by side.
    assert sorted(made.retrievers["a"].asked) == [5 + 1, 5 + 20]


def test_withheld_puts_policy_and_blocked_together():
    queries = batch([[1, 2, 3], [4]])
    blocked = np.array([[9], [-1]], dtype=np.int32)
    assert withheld(queries, Policy(exclude_seen="never")).shape == (2, 0)
    assert withheld(queries, Policy(exclude_seen="recent", recent=2)).tolist() == [[2, 3], [4, -1]]
    assert withheld(queries, Policy(), blocked).tolist() == [[1, 2, 3, 9], [4, -1, -1, -1]]


rows = st.lists(st.integers(-1, 9), min_size=4, max_size=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=4))
def test_contains_is_membership_by_row(pairs):
    inside, codes = (np.array(side, dtype=np.int32) for side in zip(*pairs, strict=True))
    expected = [[c >= 0 and c in left for c in right] for left, right in pairs]
    assert contains(inside, codes).tolist() == expected
    assert not contains(inside[:, :0], codes).any()


def test_contains_does_not_overflow_large_codes():
    big = np.full((3000, 1), 2**31 - 2, dtype=np.int32)
    assert contains(big, big).all()
    assert not contains(big - 1, big).any()


def test_keep_first_keeps_order_and_pads():
    codes = np.array([[5, 6, 7, -1]], dtype=np.int32)
    scores = np.array([[4.0, 3.0, 2.0, -np.inf]], dtype=np.float32)
    kept = keep_first(codes, scores, np.array([[True, False, True, True]]), 5)
    assert kept[0].tolist() == [[5, 7, -1, -1, -1]]
    assert kept[1].tolist() == [[4.0, 2.0, -np.inf, -np.inf, -np.inf]]


def test_a_route_without_weight_is_refused():
    fusion = FusionSpec(k=60, weights={"a": 1.0}, per_route=5, candidates=5)
    with pytest.raises(ConfigError, match=r"fusion\.weights: no weight for b; give every route one"):
        CandidateGenerator({"a": Dense(1), "b": Dense(2)}, fusion, Policy())


@pytest.mark.parametrize("name", ["fusion", "match"])
def test_a_route_with_a_name_of_the_funnels_own_is_refused(name):
    fusion = FusionSpec(k=60, weights={name: 1.0}, per_route=5, candidates=5)
    with pytest.raises(ConfigError, match=rf"routes\.{name}: this name is taken .*; rename the route"):
        CandidateGenerator({name: Dense(1)}, fusion, Policy())
