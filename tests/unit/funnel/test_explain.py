import dataclasses

import numpy as np
import pytest

from recsys.bundle.format import FusionSpec, Policy
from recsys.errors import InputError
from recsys.funnel.requests import Request
from recsys.funnel.runtime import Funnel
from recsys.release.build import build_bundle

ITEMS = 40
USERS = 24
K = 5


@pytest.fixture(scope="module")
def funnel(tiny_bundle):
    return Funnel.load(tiny_bundle)


def build(parts, info, folder, **changes):
    generator = dataclasses.replace(parts.generator, **changes)
    return Funnel.load(build_bundle(dataclasses.replace(parts, generator=generator), info, folder))


@pytest.mark.parametrize("user", [f"u{number}" for number in range(0, USERS, 4)] + ["u23", "nobody"])
def test_every_item_is_explained_as_it_was_answered(funnel, user):
    request = Request(user_id=user)
    answer = {item.item_id: item for item in funnel.recommend([request], 1000, explain=True)[0].items}
    for item_id in (f"i{code}" for code in range(ITEMS)):
        told = funnel.explain(request, item_id, K)
        found = answer.get(item_id)
        assert (told.lost_at is None) == (found is not None and found.rank <= K)
        if found is None:
            assert told.lost_at in ("filter", "recall", "fusion")
            assert told.fusion.rank is None
            continue
        assert told.lost_at in (None, "ranking")
        assert told.known_user == (user != "nobody")
        assert told.ranking.rank == found.rank
        assert told.ranking.score == pytest.approx(found.score, abs=1e-5)
        assert {n: view.place.rank for n, view in told.routes.items() if view.place.rank} == found.routes


def test_a_route_places_the_item_among_all_and_among_what_it_hands_on(funnel, tiny_parts):
    request = Request(user_id="u3")
    queries = funnel.query_batch(tiny_parts.users.encode(["u3"]))
    scores = tiny_parts.generator.retrievers["popular"].score(queries, np.arange(ITEMS, dtype=np.int32)[None])[0]
    order = np.argsort(-scores, kind="stable").tolist()
    view = funnel.explain(request, "i9", K).routes["popular"]
    assert view.weight == 0.5
    assert view.in_catalogue == order.index(9) + 1
    assert view.place.score == pytest.approx(scores[9])
    cold = funnel.explain(request, f"i{ITEMS - 1}", K).routes["popular"]
    assert (cold.in_catalogue, cold.place.rank, cold.place.score) == (None, None, None)


def test_an_item_that_is_no_candidate_gets_the_rank_it_would_have(funnel):
    request = Request(user_id="u3")
    candidates = funnel.recommend([request], 1000)[0].items
    checked = 0
    for code in range(ITEMS):
        told = funnel.explain(request, f"i{code}", K)
        if told.lost_at in ("recall", "fusion"):
            assert told.ranking.rank == 1 + sum(item.score > told.ranking.score for item in candidates)
            checked += 1
    assert checked


def test_a_seen_item_is_lost_at_the_filter_and_says_when_it_was_seen(funnel):
    told = funnel.explain(Request(history=["i5", "i2", "i7"]), "i2", K)
    assert told.lost_at == "filter"
    assert told.reason == "already in the history, 2 items ago (policy.exclude_seen: always)"
    assert (told.title, told.known_user, told.history_length) == ("Title 2", False, 3)
    assert told.routes["popular"].place.rank is None
    assert told.routes["popular"].in_catalogue is not None


def test_the_policy_is_named(tiny_parts, tiny_info, tmp_path):
    recent = build(tiny_parts, tiny_info, tmp_path / "recent", policy=Policy(exclude_seen="recent", recent=1))
    reason = "already in the history, 1 item ago (policy.exclude_seen: recent 1)"
    assert recent.explain(Request(history=["i5", "i2"]), "i2", K).reason == reason
    assert recent.explain(Request(history=["i5", "i2"]), "i5", K).lost_at != "filter"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request(user_id="u3", blocked=["i1"]), "the request blocks it"),
        (Request(user_id="u3", allowed=["i2"]), "the request allows other items only"),
    ],
)
def test_a_filter_of_the_request_is_named(funnel, request_, reason):
    told = funnel.explain(request_, "i1", K)
    assert (told.lost_at, told.reason) == ("filter", reason)


def test_an_unknown_item_is_not_in_the_catalogue(funnel):
    told = funnel.explain(Request(user_id="u3"), "i-none", K)
    assert (told.lost_at, told.reason) == ("catalogue", "no such item in this bundle")
    assert (told.routes, told.fusion, told.ranking) == ({}, None, None)


def test_recall_fusion_and_weights_are_told_apart(tiny_parts, tiny_info, tmp_path):
    fusion = FusionSpec(k=60, weights={"popular": 1.0, "cf": 0.0}, per_route=6, candidates=4)
    narrow = build(tiny_parts, tiny_info, tmp_path, fusion=fusion)
    request = Request(history=["i1", "i2"])
    told = {code: narrow.explain(request, f"i{code}", 2) for code in range(ITEMS)}
    reasons = {stage: {t.reason for t in told.values() if t.lost_at == stage} for stage in ("recall", "fusion")}
    never = "no route would ever return it for this request, however long its list"
    assert reasons["recall"] == {"no route has it among its best 6", never}
    unknown = [t.routes.values() for t in told.values() if t.reason == never]
    assert all(view.in_catalogue is None for views in unknown for view in views)
    assert any(r.startswith("found by cf #") and r.endswith(" alone, whose weight is 0") for r in reasons["fusion"])
    assert "found by popular #5, but the 4 candidates have higher fused scores" in reasons["fusion"]
    ranked = [t for t in told.values() if t.lost_at == "ranking"]
    assert {t.reason for t in ranked} == {
        "2 candidates rank higher, and the list ends at 2",
        "3 candidates rank higher, and the list ends at 2",
    }


def test_without_ranker_the_fused_place_is_the_final_one(tiny_parts, tiny_info, tmp_path):
    parts = dataclasses.replace(tiny_parts, ranker=None)
    plain = Funnel.load(build_bundle(parts, tiny_info, tmp_path))
    for code in range(ITEMS):
        told = plain.explain(Request(user_id="u4"), f"i{code}", K)
        assert (told.ranking and told.ranking.rank) == told.fusion.rank


def test_a_k_that_is_no_length_is_refused(funnel):
    with pytest.raises(InputError, match="k: 0 is not a list length; ask for at least 1"):
        funnel.explain(Request(), "i1", 0)
