import dataclasses
import json
import shutil

import numpy as np
import pytest

from recsys.bundle.format import (
    MANIFEST,
    PROVENANCE,
    FusionSpec,
    Policy,
    open_bundle,
    read_provenance,
    write_manifest,
    write_provenance,
)
from recsys.errors import BundleError, InputError
from recsys.features.assemble import Assembler
from recsys.funnel.candidates import CandidateGenerator
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.parity import difference
from recsys.funnel.requests import Request
from recsys.funnel.route_features import route_features
from recsys.funnel.runtime import Funnel
from recsys.release.build import build_bundle
from recsys.scoring.calibration import Calibration, Platt

USERS, ITEMS = 24, 40


@pytest.fixture(scope="session")
def funnel(tiny_bundle):
    return Funnel.load(tiny_bundle)


def ids(response):
    return [item.item_id for item in response.items]


def history_of(parts, user):
    code = int(parts.users.encode([user])[0])
    begin, end = parts.histories.offsets[code : code + 2]
    return parts.items.decode(parts.histories.items[begin:end]).to_pylist()


def build(parts, info, folder, **changes):
    return Funnel.load(build_bundle(dataclasses.replace(parts, **changes), info, folder))


def assert_same(one, other):
    assert difference(*(part for answer in (one, other) for part in (ids(answer), scores_of(answer)))) is None


def scores_of(response):
    return [item.score for item in response.items]


def test_a_known_user_gets_unseen_items_in_descending_order(funnel, tiny_parts):
    answer = funnel.recommend([Request(user_id="u3")], 10)[0]
    scores = [item.score for item in answer.items]
    assert answer.known_user
    assert len(set(ids(answer))) == 10
    assert not set(ids(answer)) & set(history_of(tiny_parts, "u3"))
    assert scores == sorted(scores, reverse=True)
    assert [item.rank for item in answer.items] == list(range(1, 11))
    assert all(item.title == (None if item.item_id == "i3" else f"Title {item.item_id[1:]}") for item in answer.items)


def test_the_score_is_the_rankers_own(funnel, tiny_parts):
    """The whole path again by hand: candidates, route features, inputs, scorer."""
    queries = funnel.query_batch(np.arange(USERS, dtype=np.int32))
    generator, ranker = tiny_parts.generator, tiny_parts.ranker
    candidates = generator.generate(queries)
    routes = route_features(
        generator.retrievers, queries, candidates.codes, candidates, match=MatchFeatures(tiny_parts.item_features)
    )
    inputs = Assembler(tiny_parts.item_features, ranker.spec).inputs(queries, candidates.codes, routes)
    logits = ranker.scorer.score(inputs)[..., 0]
    lists = funnel.rank(queries, 5)
    for row in range(USERS):
        expected = {int(c): s for c, s in zip(candidates.codes[row], logits[row], strict=True) if c >= 0}
        best = sorted(expected, key=lambda code: (-expected[code], code))[:5]
        assert lists.codes[row].tolist() == best
        np.testing.assert_allclose(lists.scores[row], [expected[code] for code in best], rtol=1e-5, atol=1e-5)


def test_training_and_serving_describe_candidates_alike(funnel, tiny_parts):
    """Offline, in one batch with other items beside; online, one request from the loaded bundle."""
    queries = funnel.query_batch(np.arange(USERS, dtype=np.int32))
    offline = tiny_parts.generator.generate(queries)
    rng = np.random.default_rng(0)
    sampled = np.concatenate([rng.integers(0, ITEMS, (USERS, 7), dtype=np.int32), offline.codes[:, ::-1]], axis=1)
    match = MatchFeatures(tiny_parts.item_features)
    described = route_features(tiny_parts.generator.retrievers, queries, sampled, offline, match=match)
    served = funnel.parts.generator
    for row in range(USERS):
        alone = queries.take(slice(row, row + 1))
        online = served.generate(alone)
        np.testing.assert_array_equal(online.codes[0], offline.codes[row])
        live = route_features(
            served.retrievers, alone, online.codes, online, match=MatchFeatures(funnel.parts.item_features)
        )
        for name, values in live.items():
            np.testing.assert_allclose(values[0], described[name][row, :6:-1], atol=1e-5, err_msg=name)


def test_a_batch_equals_one_at_a_time(funnel):
    requests = [
        *(Request(user_id=f"u{n}") for n in range(USERS)),
        Request(),
        Request(history=["i1", "i2"]),
        Request(user_id="nobody", features={"age": 30.0}),
        Request(user_id="u1", allowed=["i5", "i6", "i7"]),
        Request(user_id="u2", blocked=["i0"]),
    ]
    for alone, together in zip(requests, funnel.recommend(requests, 8), strict=True):
        assert_same(funnel.recommend([alone], 8)[0], together)


def test_a_calibration_adds_probabilities_and_changes_no_order(funnel, tiny_parts, tiny_info, tmp_path, monkeypatch):
    calibrated = dataclasses.replace(tiny_parts.ranker, calibration=Calibration((Platt(0.25, -1.0),)))
    own = build(tiny_parts, tiny_info, tmp_path, ranker=calibrated)
    requests = [*(Request(user_id=f"u{n}") for n in range(USERS)), Request(allowed=["i5"])]
    monkeypatch.setattr("recsys.funnel.runtime._CHUNK", 5)
    for before, after in zip(funnel.recommend(requests, 10), own.recommend(requests, 10), strict=True):
        assert_same(before, after)
        expected = [1 / (1 + np.exp(1 - 0.25 * item.score)) for item in after.items]
        np.testing.assert_allclose([item.probability for item in after.items], expected, rtol=1e-6)
        assert all(item.probability is None for item in before.items)


def test_a_map_for_a_task_that_is_not_there_is_refused(tiny_parts, tiny_info, tmp_path):
    both = Calibration((Platt(1.0, 0.0), Platt(1.0, 0.0)))
    with pytest.raises(BundleError, match="2 maps, expected one a task"):
        build(tiny_parts, tiny_info, tmp_path, ranker=dataclasses.replace(tiny_parts.ranker, calibration=both))


def test_rank_in_chunks_equals_rank_at_once(funnel, assert_same_lists, monkeypatch):
    queries = funnel.query_batch(np.arange(USERS, dtype=np.int32))
    whole = funnel.rank(queries, 6)
    monkeypatch.setattr("recsys.funnel.runtime._CHUNK", 5)
    parts = funnel.rank(queries, 6)
    assert_same_lists((parts.codes, parts.scores), (whole.codes, whole.scores))
    np.testing.assert_array_equal(parts.candidates.ranks, whole.candidates.ranks)


def test_history_in_the_request_replaces_the_stored_one(funnel, tiny_parts):
    stored = history_of(tiny_parts, "u4")
    assert_same(
        funnel.recommend([Request(user_id="u4", history=stored)], 10)[0],
        funnel.recommend([Request(user_id="u4")], 10)[0],
    )
    fresh = funnel.recommend([Request(user_id="u4", history=["i20"])], 19)[0]
    assert "i20" not in ids(fresh)
    assert set(ids(fresh)) & set(stored)


def test_evaluation_sends_the_history_as_of_a_moment(funnel, tiny_parts):
    user = tiny_parts.users.encode(["u4"])
    begin = tiny_parts.histories.offsets[user[0]]
    early = tiny_parts.histories.items[begin : begin + 2][None]
    lists = funnel.rank(funnel.query_batch(user, early, np.array([2], dtype=np.int32)), 10)
    request = Request(user_id="u4", history=tiny_parts.items.decode(early[0]).to_pylist())
    assert tiny_parts.items.decode(lists.codes[0]).to_pylist() == ids(funnel.recommend([request], 10)[0])


@pytest.mark.parametrize(
    "request_",
    [
        Request(),
        Request(user_id="nobody"),
        Request(user_id=""),
        Request(user_id="u23"),
        Request(history=[]),
        Request(history=["nowhere", "Ω '\""]),
        Request(features={"age": float("nan"), "city": "somewhere new"}),
        Request(features={"age": None, "city": None}),
    ],
)
def test_a_cold_start_always_gets_a_full_list(funnel, request_):
    answer = funnel.recommend([request_], 10)[0]
    assert len(answer.items) == 10
    assert all(np.isfinite(item.score) for item in answer.items)
    assert answer.known_user == (request_.user_id == "u23")


def test_a_cold_start_gets_an_answer_even_when_no_route_has_one(tiny_parts, tiny_info, tmp_path):
    fusion = FusionSpec(k=60, weights={"cf": 1.0}, per_route=20, candidates=20)
    only_cf = CandidateGenerator({"cf": tiny_parts.generator.retrievers["cf"]}, fusion, Policy())
    funnel = build(tiny_parts, tiny_info, tmp_path, generator=only_cf, ranker=None)
    order = np.lexsort((np.arange(ITEMS), -tiny_parts.popularity))
    expected = [f"i{code}" for code in order]
    assert ids(funnel.recommend([Request()], 10)[0]) == expected[:10]
    blocked = Request(blocked=expected[:3])
    assert ids(funnel.recommend([blocked], 5)[0]) == expected[3:8]
    assert ids(funnel.recommend([Request(allowed=["i2", "i0"])], 5)[0]) == [i for i in expected if i in ("i0", "i2")]


def test_features_replace_the_stored_ones_column_by_column(funnel, tiny_parts):
    """The tiny ranker is linear: another age moves every score of the user by the same amount."""
    before, after = funnel.recommend([Request(user_id="u5"), Request(user_id="u5", features={"age": 200.0})], 10)
    assert ids(before) == ids(after)
    moved = np.array([i.score for i in after.items]) - np.array([i.score for i in before.items])
    assert abs(moved[0]) > 1e-3
    np.testing.assert_allclose(moved, moved[0], atol=1e-4)


def test_unknown_items_are_ignored_and_reported(funnel):
    given = funnel.recommend([Request(history=["i1", "zzz", "i2", "zzz"])], 10)[0]
    assert given.unknown_items == ("zzz", "zzz")
    assert_same(given, funnel.recommend([Request(history=["i1", "i2"])], 10)[0])


def test_allowed_and_blocked(funnel):
    allowed = funnel.recommend([Request(allowed=["i9", "i1", "zzz", "i5", "i1"])], 10)[0]
    assert sorted(ids(allowed)) == ["i1", "i5", "i9"]
    assert funnel.recommend([Request(allowed=[])], 10)[0].items == ()
    first = ids(funnel.recommend([Request()], 10)[0])
    without = funnel.recommend([Request(blocked=[*first[:2], "zzz"])], 20)[0]
    assert not set(first[:2]) & set(ids(without))
    assert len(without.items) == 20


def test_more_than_there_is_gives_what_there_is(funnel):
    assert len(funnel.recommend([Request()], 1000)[0].items) == 20  # fusion keeps 20 candidates


def test_explain_names_the_routes_and_ranks(funnel, tiny_parts):
    request = Request(user_id="u3")
    queries = funnel.query_batch(tiny_parts.users.encode(["u3"]))
    lists = tiny_parts.generator.lists(queries)
    for item in funnel.recommend([request], 10, explain=True)[0].items:
        code = int(tiny_parts.items.encode([item.item_id])[0])
        found = {n: codes[0].tolist().index(code) + 1 for n, (codes, _) in lists.items() if code in codes[0]}
        assert item.routes == found
    assert funnel.recommend([request], 1)[0].items[0].routes == {}


def test_no_requests_no_answers(funnel):
    assert funnel.recommend([], 10) == []


@pytest.mark.parametrize("k", [0, -1])
def test_a_k_that_is_no_length_is_refused(funnel, k):
    with pytest.raises(InputError, match=f"k: {k} is not a list length; ask for at least 1"):
        funnel.recommend([Request()], k)


def test_an_unknown_column_is_named(funnel):
    with pytest.raises(InputError, match=r"user\.agee: the bundle does not read this column; it reads age, city"):
        funnel.recommend([Request(features={"agee": 1})], 1)
    with pytest.raises(InputError, match=r"context\.hour: .* it reads no columns"):
        funnel.recommend([Request(context={"hour": 1})], 1)


def test_a_value_of_the_wrong_type_is_named(funnel):
    message = r"user\.age: found 'old', expected a number, such as 12\.5"
    with pytest.raises(InputError, match=message):
        funnel.recommend([Request(features={"age": "old"})], 1)
    with pytest.raises(InputError, match=message):
        funnel.recommend([Request(features={"age": 1.0}), Request(features={"age": "old"})], 1)
    with pytest.raises(InputError, match=r"user\.city: found \['Köln'\], expected text, a whole number, true or false"):
        funnel.recommend([Request(features={"city": ["Köln"]})], 1)


def test_one_batch_may_hold_a_value_in_several_types(funnel):
    """Each is read as it would be alone."""
    requests = [Request(user_id="u3", features={"age": age}) for age in (31, 31.0, "31", " 31.0 ", "3.1e1")]
    first, *others = funnel.recommend(requests, 5)
    for other in others:
        assert_same(first, other)
    assert [i.score for i in funnel.recommend([Request(user_id="u3", features={"age": 60})], 5)[0].items] != [
        i.score for i in first.items
    ]


@pytest.mark.parametrize("name", ["u3", " u3 "])
def test_ids_are_trimmed_as_ingest_trims_them(funnel, name):
    answer = funnel.recommend([Request(user_id=name, history=[" i1 ", "nowhere"], blocked=["i0 "])], 5)[0]
    assert answer.known_user
    assert answer.unknown_items == ("nowhere",)
    assert_same(answer, funnel.recommend([Request(user_id="u3", history=["i1"], blocked=["i0"])], 5)[0])


@pytest.mark.parametrize("name", ["", "NULL", "\\N", " nan "])
def test_what_stands_for_no_id_is_no_user(funnel, name):
    assert not funnel.recommend([Request(user_id=name)], 1)[0].known_user


def test_without_ranker_the_fused_order_is_the_answer(tiny_parts, tiny_info, tmp_path):
    funnel = build(tiny_parts, tiny_info, tmp_path, ranker=None)
    queries = funnel.query_batch(np.arange(USERS, dtype=np.int32))
    lists = funnel.rank(queries, 20)
    np.testing.assert_array_equal(lists.codes, tiny_parts.generator.generate(queries).codes)
    with pytest.raises(InputError, match="bundle tiny: has no ranker to score rows with; set `ranking:` and run"):
        funnel.score_rows(queries, lists.codes)


def test_given_rows_get_the_scores_they_get_in_a_list(funnel):
    queries = funnel.query_batch(np.arange(USERS, dtype=np.int32))
    lists = funnel.rank(queries, 6)
    np.testing.assert_allclose(funnel.score_rows(queries, lists.codes), lists.scores, atol=1e-5)
    cold = np.array([[ITEMS - 1, -1]] * USERS, dtype=np.int32)
    scores = funnel.score_rows(queries, cold)
    assert np.isfinite(scores[:, 0]).all()
    assert np.isneginf(scores[:, 1]).all()


@pytest.mark.parametrize("policy", [Policy(exclude_seen="never"), Policy(exclude_seen="recent", recent=1)])
def test_policy_travels_in_the_bundle(tiny_parts, tiny_info, tmp_path, policy):
    every = tiny_parts.generator.fusion.model_copy(update={"candidates": 40})
    generator = dataclasses.replace(tiny_parts.generator, policy=policy, fusion=every)
    funnel = build(tiny_parts, tiny_info, tmp_path, generator=generator)
    past = ["i0", "i1", "i2"]
    found = set(ids(funnel.recommend([Request(history=past)], 40)[0]))
    assert found & set(past) == ({"i0", "i1", "i2"} if policy.exclude_seen == "never" else {"i0", "i1"})


def test_one_changed_byte_in_any_file_is_named(tiny_bundle, tmp_path):
    copy = tmp_path / "1"
    shutil.copytree(tiny_bundle, copy)
    files = [path for path in sorted(copy.rglob("*")) if path.is_file()]
    assert {PROVENANCE, MANIFEST} < {path.name for path in files}
    assert len(files) > 15
    for path in files:
        good = path.read_bytes()
        path.write_bytes(good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :])
        with pytest.raises(BundleError) as caught:
            Funnel.load(copy)
        assert str(path) in str(caught.value)
        path.write_bytes(good)
    Funnel.load(copy)


def damaged(bundle, folder, change):
    """A copy whose manifest agrees with its damaged content, as a faulty build would have written it."""
    shutil.copytree(bundle, folder)
    change(folder)
    write_manifest(folder, open_bundle(bundle))
    return folder


def test_a_bundle_that_answers_differently_is_refused(tiny_bundle, tmp_path):
    def change(folder):
        index = json.loads((folder / "state/user_features/arrays.json").read_text()).index("user.age")
        path = folder / f"state/user_features/{index}.npy"
        np.save(path, np.load(path) + np.float32(1))

    copy = damaged(tiny_bundle, tmp_path / "1", change)
    with pytest.raises(BundleError, match=r"golden request 0 \(user 'u0'\): score .*compare library versions"):
        Funnel.load(copy)
    Funnel.load(copy, verify=False)


def test_libraries_of_other_versions_are_named_and_do_not_refuse(tiny_bundle, tmp_path, caplog):
    copy = tmp_path / "1"
    shutil.copytree(tiny_bundle, copy)
    provenance = read_provenance(copy)
    assert provenance.libraries["numpy"] == np.__version__
    write_provenance(copy, provenance.model_copy(update={"libraries": {**provenance.libraries, "numpy": "1.0.3"}}))
    Funnel.load(copy)
    assert caplog.messages == [
        f"bundle {copy}: built with numpy 1.0.3, here is {np.__version__}; "
        "its golden requests are replayed before it answers"
    ]
    caplog.clear()
    Funnel.load(tiny_bundle)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("catalogue/items.parquet", b"no parquet"),
        ("catalogue/popularity.npy", b"no array"),
        ("catalogue/item_features/arrays.json", b"{"),
        ("ranker/inputs.json", b"{}"),
    ],
)
def test_a_part_that_cannot_be_read_is_a_bundle_error(tiny_bundle, tmp_path, name, data):
    copy = damaged(tiny_bundle, tmp_path / "1", lambda folder: (folder / name).write_bytes(data))
    with pytest.raises(BundleError, match=r"cannot be read .*; build the bundle again"):
        Funnel.load(copy)


def test_parts_that_do_not_fit_each_other_are_refused(tiny_parts):
    with pytest.raises(BundleError, match="popularity: 3 rows, but the catalogue has 40 items; build the bundle again"):
        dataclasses.replace(tiny_parts, popularity=np.zeros(3, dtype=np.float32))


def test_an_object_array_is_never_unpickled(tiny_bundle, tmp_path):
    def change(folder):
        np.save(folder / "catalogue/popularity.npy", np.array([object()] * ITEMS), allow_pickle=True)

    with pytest.raises(BundleError, match="cannot be read"):
        Funnel.load(damaged(tiny_bundle, tmp_path / "1", change))
