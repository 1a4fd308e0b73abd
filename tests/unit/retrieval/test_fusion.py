import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.bundle.format import FusionSpec
from recsys.metrics.ranking import ndcg_at_k, relevance
from recsys.retrieval.fusion import fit_weights, fuse


def spec(weights, k=60, candidates=200, **rule):
    return FusionSpec(k=k, weights=weights, per_route=200, candidates=candidates, **rule)


LISTS = {
    "a": (np.array([[4, 2, -1]], np.int32), np.array([[9.0, 5.0, -np.inf]], np.float32)),
    "b": (np.array([[2, 0, 7]], np.int32), np.array([[3.0, 2.0, 1.0]], np.float32)),
}


def test_scores_are_weighted_reciprocal_ranks():
    fused = fuse(LISTS, spec({"a": 1.0, "b": 0.5}, 60, 6))
    expected = {2: 1 / 62 + 0.5 / 61, 4: 1 / 61, 0: 0.5 / 62, 7: 0.5 / 63}
    assert fused.codes.tolist() == [[*sorted(expected, key=lambda code: -expected[code]), -1, -1]]
    np.testing.assert_allclose(fused.scores[0, :4], sorted(expected.values(), reverse=True), rtol=1e-6)
    assert fused.routes == ("a", "b")
    assert fused.ranks.tolist() == [[[1, 0, -1, -1, -1, -1]], [[0, -1, 1, 2, -1, -1]]]
    assert fused.route_scores[0, 0, :3].tolist() == [5.0, 9.0, -np.inf]


def test_a_route_without_weight_says_what_it_thinks_but_adds_nothing():
    fused = fuse(LISTS, spec({"a": 1.0, "b": 0.0}, 60, 6))
    assert fused.codes.tolist() == [[4, 2, -1, -1, -1, -1]]
    assert fused.ranks[1].tolist() == [[-1, 0, -1, -1, -1, -1]]


def test_ties_go_to_the_smaller_code():
    lists = {
        "a": (np.array([[9, 1]], np.int32), np.ones((1, 2), np.float32)),
        "b": (np.array([[3, 5]], np.int32), np.ones((1, 2), np.float32)),
    }
    assert fuse(lists, spec({"a": 1.0, "b": 1.0}, 60, 4)).codes.tolist() == [[3, 9, 1, 5]]


@pytest.mark.parametrize("k", [1, 10, 60])
def test_equal_ranks_by_other_routes_tie_whatever_order_they_are_summed_in(k):
    for ranks in itertools.permutations(range(6), 3):
        rows = np.arange(100, 118, dtype=np.int32).reshape(3, 6)
        for route in range(3):
            rows[route, ranks[route]] = 1
            rows[route, ranks[(route + 1) % 3]] = 0
        lists = {f"r{route}": (rows[route : route + 1], np.ones((1, 6), np.float32)) for route in range(3)}
        fused = fuse(lists, spec(dict.fromkeys(lists, 1.0), k, 18))
        codes = fused.codes[0].tolist()
        assert codes.index(0) == codes.index(1) - 1
        assert np.lexsort((fused.codes[0], -fused.scores[0])).tolist() == list(range(18))


def test_requests_without_any_item():
    empty = {"a": (np.full((2, 3), -1, np.int32), np.full((2, 3), -np.inf, np.float32))}
    assert fuse(empty, spec({"a": 1.0}, 60, 2)).codes.tolist() == [[-1, -1], [-1, -1]]


def test_take_picks_requests():
    lists = {"a": (np.array([[1, 2], [3, 4]], np.int32), np.ones((2, 2), np.float32))}
    taken = fuse(lists, spec({"a": 1.0}, 60, 2)).take(np.array([1]))
    assert taken.codes.tolist() == [[3, 4]]
    assert taken.ranks.tolist() == [[[0, 1]]]


@st.composite
def ranked_lists(draw):
    requests, routes = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    lists = {}
    for route in range(routes):
        rows = [draw(st.permutations(range(8)))[: draw(st.integers(0, 5))] for _ in range(requests)]
        codes = np.array([[*row, *[-1] * (5 - len(row))] for row in rows], np.int32)
        lists[f"r{route}"] = codes, np.where(codes >= 0, 1.0 / (1 + np.arange(5)), -np.inf).astype(np.float32)
    weights = {name: draw(st.sampled_from([0.0, 0.5, 1.0])) for name in lists}
    return lists, weights


@given(ranked_lists(), st.integers(1, 10))
@settings(max_examples=80, deadline=None)
def test_fusion_agrees_with_a_dictionary(given_lists, width):
    lists, weights = given_lists
    fused = fuse(lists, spec(weights, 60, width))
    for row in range(len(fused.codes)):
        total: dict[int, float] = {}
        for name, (codes, _) in lists.items():
            for rank, code in enumerate(codes[row].tolist()):
                if code >= 0 and weights[name] > 0:
                    total[code] = total.get(code, 0.0) + weights[name] / (61 + rank)
        best = sorted(total, key=lambda code: (-round(total[code], 12), code))[:width]
        assert fused.codes[row][fused.codes[row] >= 0].tolist() == best
        np.testing.assert_allclose(fused.scores[row][: len(best)], [total[code] for code in best], rtol=1e-6)
        for column, code in enumerate(fused.codes[row].tolist()):
            for number, (codes, _) in enumerate(lists.values()):
                where = codes[row].tolist().index(code) if code >= 0 and code in codes[row] else -1
                assert fused.ranks[number, row, column] == where


def evidence():
    """Route `good` puts the positive first, `bad` never finds it."""
    rng = np.random.default_rng(0)
    positives = rng.integers(0, 50, 40).astype(np.int32)
    rest = np.stack([rng.permutation(np.setdiff1d(np.arange(50), [p]))[:20] for p in positives]).astype(np.int32)
    good = np.concatenate([positives[:, None], rest[:, :10]], axis=1)
    lists = {"bad": (rest[:, 9:20], np.ones((40, 11), np.float32)), "good": (good, np.ones((40, 11), np.float32))}
    return lists, np.arange(41), positives


def test_weights_follow_the_route_that_is_right():
    lists, offsets, positives = evidence()
    found = fit_weights(lists, offsets, positives, spec({}))
    assert found["good"] == 1.0
    assert found["bad"] <= 0.5
    assert found == fit_weights(lists, offsets, positives, spec({}))


@given(ranked_lists(), st.data())
@settings(max_examples=150, deadline=None)
def test_fitted_weights_are_no_worse_than_any_single_route_once_fused(given_lists, data):
    lists, _ = given_lists
    requests = len(next(iter(lists.values()))[0])
    rows = [sorted(data.draw(st.sets(st.integers(0, 7), min_size=1, max_size=3))) for _ in range(requests)]
    offsets, positives = np.cumsum([0, *map(len, rows)]), np.concatenate(rows).astype(np.int32)
    at = data.draw(st.integers(1, 10))

    def quality(weights):
        hits = relevance(fuse(lists, spec(weights, 60, at)).codes, offsets, positives)
        return ndcg_at_k(hits, np.diff(offsets), at).mean()

    singles = [quality({name: float(name == best) for name in lists}) for best in lists]
    assert quality(fit_weights(lists, offsets, positives, spec({}), at=at)) >= max(singles) - 1e-9


def test_no_request_gives_equal_weights():
    lists = {"a": (np.zeros((0, 3), np.int32), np.zeros((0, 3), np.float32))}
    assert fit_weights(lists, np.zeros(1, np.int64), np.zeros(0, np.int32), spec({})) == {"a": 1.0}


def test_nothing_found_gives_equal_weights():
    lists, offsets, _ = evidence()
    assert fit_weights(lists, offsets, np.full(40, 60, np.int32), spec({})) == {"bad": 1.0, "good": 1.0}


def test_a_weight_for_every_list_is_needed():
    with pytest.raises(KeyError):
        fuse(LISTS, spec({"a": 1.0}, 60, 3))


RULES = [{"kind": "weighted_sum", "scale": scale} for scale in ("range", "deviation")] + [{"kind": "quota"}]


@st.composite
def scored_lists(draw):
    lists, weights = draw(ranked_lists())
    for name, (codes, _) in lists.items():
        scores = np.sort(draw(st.lists(st.integers(-9, 9), min_size=5, max_size=5)))[::-1].astype(np.float32)
        lists[name] = codes, np.where(codes >= 0, scores, -np.inf).astype(np.float32)
    return lists, weights


def scaled(scores, scale):
    """What each of a list's scores counts."""
    if len(set(scores)) <= 1:
        return [1.0] * len(scores)
    step = (max(scores) - min(scores)) / len(scores)
    unit = max(scores) - min(scores) + step if scale == "range" else np.std(scores)
    return [(score - min(scores) + step) / unit for score in scores]


@given(scored_lists(), st.integers(1, 10), st.sampled_from(["range", "deviation"]))
@settings(max_examples=80, deadline=None)
def test_a_weighted_sum_agrees_with_a_dictionary(given_lists, width, scale):
    lists, weights = given_lists
    fused = fuse(lists, spec(weights, candidates=width, kind="weighted_sum", scale=scale))
    for row in range(len(fused.codes)):
        total: dict[int, float] = {}
        for name, (codes, scores) in lists.items():
            real = codes[row] >= 0
            if weights[name] > 0:
                for code, value in zip(
                    codes[row][real].tolist(), scaled(scores[row][real].tolist(), scale), strict=True
                ):
                    total[code] = total.get(code, 0.0) + weights[name] * value
        kept = fused.codes[row][fused.codes[row] >= 0].tolist()
        assert len(kept) == len(set(kept)) == min(width, len(total))
        np.testing.assert_allclose(fused.scores[row][: len(kept)], [total[code] for code in kept], rtol=1e-5)
        np.testing.assert_allclose(
            fused.scores[row][: len(kept)], sorted(total.values(), reverse=True)[: len(kept)], rtol=1e-5
        )


@given(scored_lists(), st.integers(1, 10))
@settings(max_examples=80, deadline=None)
def test_quotas_agree_with_taking_turns(given_lists, width):
    lists, weights = given_lists
    fused = fuse(lists, spec(weights, candidates=width, kind="quota"))
    for row in range(len(fused.codes)):
        left = {name: [c for c in lists[name][0][row].tolist() if c >= 0] for name in lists if weights[name] > 0}
        had, taken = dict.fromkeys(left, 0), []
        while any(left.values()) and len(taken) < width:
            # Whose turn comes first; of two at once the first named in even turns, the last in odd ones.
            number = list(left)
            name = min(left, key=lambda n: ((had[n] + 0.5) / weights[n], number.index(n) * (-1) ** had[n]))
            had[name] += 1
            left[name] = [code for code in left[name] if code not in taken]
            if left[name]:
                taken.append(left[name].pop(0))
        assert fused.codes[row][fused.codes[row] >= 0].tolist() == taken
        np.testing.assert_allclose(fused.scores[row][: len(taken)], 1 - np.arange(len(taken)) / width, rtol=1e-6)


def test_equal_quotas_make_a_snake():
    rows = {name: np.arange(at * 10, at * 10 + 4, dtype=np.int32)[None] for at, name in enumerate("abc")}
    lists = {name: (codes, np.ones((1, 4), np.float32)) for name, codes in rows.items()}
    fused = fuse(lists, spec(dict.fromkeys(lists, 1.0), candidates=9, kind="quota"))
    assert fused.codes.tolist() == [[0, 10, 20, 21, 11, 1, 2, 12, 22]]


def test_a_quota_is_a_share_of_the_places():
    lists = {
        "a": (np.arange(100, dtype=np.int32)[None], np.ones((1, 100), np.float32)),
        "b": (np.arange(100, 200, dtype=np.int32)[None], np.ones((1, 100), np.float32)),
    }
    codes = fuse(lists, spec({"a": 3.0, "b": 1.0}, candidates=40, kind="quota")).codes
    assert (codes < 100).sum() == 30


@pytest.mark.parametrize("rule", RULES)
def test_weights_follow_the_route_that_is_right_by_every_rule(rule):
    lists, offsets, positives = evidence()
    found = fit_weights(lists, offsets, positives, spec({}, **rule))
    assert found["good"] == 1.0
    assert found["bad"] <= 0.5


@pytest.mark.parametrize("rule", RULES)
def test_requests_without_any_item_have_no_candidates_by_any_rule(rule):
    empty = {"a": (np.full((2, 3), -1, np.int32), np.full((2, 3), -np.inf, np.float32))}
    fused = fuse(empty, spec({"a": 1.0}, candidates=2, **rule))
    assert fused.codes.tolist() == [[-1, -1], [-1, -1]]
