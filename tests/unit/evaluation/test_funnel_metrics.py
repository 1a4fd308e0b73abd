import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sklearn

from recsys.errors import DataError
from recsys.evaluation import funnel_metrics
from recsys.evaluation.config import EvaluationConfig
from recsys.evaluation.funnel_metrics import evaluate_funnel, evaluate_rows
from recsys.evaluation.lists import write_lists
from recsys.features.history import Requests
from recsys.funnel.runtime import Funnel
from recsys.scoring.calibration import Calibration, Platt

CONFIG = EvaluationConfig(ks=(1, 5, 10, 20), bootstrap=200)
STAGES = ["route.popular", "route.cf", "fusion", "funnel"]


def rng():
    return np.random.default_rng(5)


def requests_of(positives):
    """One request a user in turn, with these item codes as positives."""
    offsets = np.cumsum([0, *map(len, positives)]).astype(np.int64)
    flat = np.array([code for wanted in positives for code in sorted(wanted)], dtype=np.int32)
    users = np.arange(len(positives), dtype=np.int32)
    return Requests(users, np.zeros(len(users), np.int64), offsets, flat, np.full(len(users), -1, np.int64))


@pytest.fixture(scope="module")
def funnel(tiny_bundle):
    return Funnel.load(tiny_bundle)


@pytest.fixture(scope="module")
def requests(funnel):
    """Positives by chance; the last request has more than ten of them."""
    draws = rng()
    items = len(funnel.parts.items)
    wanted = [draws.choice(items, size=1 + user % 4, replace=False).tolist() for user in range(11)]
    return requests_of([*wanted, draws.choice(items, size=18, replace=False).tolist()])


@pytest.fixture(scope="module")
def queries(funnel, requests):
    return funnel.query_batch(requests.user)


@pytest.fixture(scope="module")
def evaluation(funnel, requests, queries):
    return evaluate_funnel(funnel, requests, queries, CONFIG, rng=rng())


def positives(requests):
    return [set(part.tolist()) for part in np.split(requests.positives, requests.offsets[1:-1])]


def answers(funnel, queries):
    """Every stage's list of every request, asked one at a time."""
    lists = {stage: [] for stage in STAGES}
    for row in range(len(queries)):
        one = queries.take(np.array([row]))
        own = funnel.parts.generator.lists(one)
        ranked = funnel.rank(one, 50)
        found = {f"route.{name}": codes for name, (codes, _) in own.items()}
        found |= {"fusion": ranked.candidates.codes, "funnel": ranked.codes}
        for stage, codes in found.items():
            lists[stage].append([code for code in codes[0].tolist() if code >= 0])
    return lists


def ndcg(codes, wanted, k):
    gain = sum(1 / math.log2(place + 2) for place, code in enumerate(codes[:k]) if code in wanted)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))


def test_every_stage_is_measured_on_its_own_lists(evaluation, funnel, requests, queries):
    wanted = positives(requests)
    assert [stage.name for stage in evaluation.stages] == STAGES
    for stage, lists in answers(funnel, queries).items():
        measured = evaluation.stage(stage).metrics
        for k in CONFIG.ks:
            pairs = list(zip(lists, wanted, strict=True))
            recalls = [len(set(codes[:k]) & right) / len(right) for codes, right in pairs]
            assert measured["recall"][k].mean == pytest.approx(np.mean(recalls))
            assert measured["ndcg"][k].mean == pytest.approx(np.mean([ndcg(*pair, k) for pair in pairs]))
            assert measured["hit_rate"][k].mean == pytest.approx(np.mean([recall > 0 for recall in recalls]))


def test_coverage_counts_the_first_ten_places(evaluation, funnel, queries):
    for stage, lists in answers(funnel, queries).items():
        shown = {code for codes in lists for code in codes[:10]}
        assert evaluation.stage(stage).coverage == len(shown) / len(funnel.parts.items)


def test_every_positive_is_found_or_lost_once(evaluation, funnel, requests, queries):
    wanted, lists = positives(requests), answers(funnel, queries)
    total = len(requests.positives)
    reached = [len(set(codes) & right) for codes, right in zip(lists["fusion"], wanted, strict=True)]
    found = [len(set(codes[:10]) & right) for codes, right in zip(lists["funnel"], wanted, strict=True)]
    loss = evaluation.loss
    assert loss.found == sum(found) / total
    assert loss.recall == 1 - sum(reached) / total
    assert loss.ranking == pytest.approx((sum(reached) - sum(found)) / total)
    assert loss.no_room == sum(max(count - 10, 0) for count in reached) / total
    assert loss.found + loss.ranking + loss.recall == pytest.approx(1)


def test_the_funnel_is_compared_with_its_best_route_and_fusion(evaluation):
    routes = {stage: evaluation.stage(stage).metrics["ndcg"][10].mean for stage in STAGES[:2]}
    assert evaluation.best_route == max(routes, key=routes.get)
    assert [comparison.against for comparison in evaluation.comparisons] == [evaluation.best_route, "fusion"]
    ours = evaluation.stage("funnel").metrics["ndcg"][10].mean
    for comparison in evaluation.comparisons:
        theirs = evaluation.stage(comparison.against).metrics["ndcg"][10].mean
        assert comparison.difference.mean == pytest.approx(ours - theirs)
        assert comparison.difference.low <= comparison.difference.mean <= comparison.difference.high


def test_the_ranker_is_measured_on_the_candidates(evaluation, funnel, requests, queries):
    labels, scores, groups = [], [], []
    for row, right in enumerate(positives(requests)):
        ranked = funnel.rank(queries.take(np.array([row])), 50)
        for code, score in zip(ranked.codes[0].tolist(), ranked.scores[0].tolist(), strict=True):
            if code >= 0:
                labels.append(code in right)
                scores.append(score)
                groups.append(row)
    assert evaluation.ranker.rows == len(labels)
    assert evaluation.ranker.positives == sum(labels)
    assert evaluation.ranker.auc == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-6)
    assert evaluation.ranker.logloss == pytest.approx(
        sklearn.log_loss(labels, 1 / (1 + np.exp(-np.array(scores)))), rel=1e-5
    )
    assert evaluation.ranker.source == "candidates of the test requests"


def test_labelled_rows_take_the_place_of_candidates(funnel, requests, queries):
    rows = evaluate_rows(np.array([1, 0, 0]), np.array([1.0, 0.0, 2.0]), np.array([0, 0, 1]))
    assert (rows.rows, rows.positives, rows.auc, rows.gauc) == (3, 1, 0.5, 1.0)
    assert evaluate_funnel(funnel, requests, queries, CONFIG, rng=rng(), rows=rows).ranker is rows


def test_figures_of_probabilities_are_of_the_calibrated_ones(funnel, requests, queries):
    calibrated = replace(funnel.parts.ranker, calibration=Calibration((Platt(0.5, -2.0),), (0.15,)))
    own = Funnel(replace(funnel.parts, ranker=calibrated), funnel.manifest)
    before, after = (evaluate_funnel(f, requests, queries, CONFIG, rng=rng()) for f in (funnel, own))
    np.testing.assert_array_equal(after.codes, before.codes)
    labels, scores = [], []
    for row, right in enumerate(positives(requests)):
        ranked = funnel.rank(queries.take(np.array([row])), 50)
        labels += [code in right for code in ranked.codes[0].tolist() if code >= 0]
        scores += [score for score in ranked.scores[0] if np.isfinite(score)]
    chances = 1 / (1 + np.exp(2 - 0.5 * np.array(scores)))
    assert after.ranker.logloss == pytest.approx(sklearn.log_loss(labels, chances), rel=1e-5)
    assert after.ranker.calibration_error < before.ranker.calibration_error
    told = np.array(labels), chances >= 0.15
    assert after.ranker.decisions.threshold == 0.15
    assert after.ranker.decisions.precision == pytest.approx(sklearn.precision_score(*told))
    assert after.ranker.decisions.recall == pytest.approx(sklearn.recall_score(*told))
    assert after.flat()["ranker/f1"] == pytest.approx(sklearn.f1_score(*told))
    assert before.ranker.decisions is None
    assert (after.ranker.auc, after.ranker.gauc) == (before.ranker.auc, before.ranker.gauc)


def test_without_a_ranker_the_funnel_is_fusion(funnel, requests, queries):
    bare = Funnel(replace(funnel.parts, ranker=None), funnel.manifest)
    evaluation = evaluate_funnel(bare, requests, queries, CONFIG, rng=rng())
    assert evaluation.ranker is None
    assert not [name for name in evaluation.flat() if name.startswith("ranker/")]
    assert evaluation.stage("funnel").metrics == evaluation.stage("fusion").metrics


def test_chunks_change_nothing(evaluation, funnel, requests, queries, monkeypatch):
    monkeypatch.setattr(funnel_metrics, "_CHUNK", 5)
    again = evaluate_funnel(funnel, requests, queries, CONFIG, rng=rng())
    np.testing.assert_array_equal(again.codes, evaluation.codes)
    assert again.flat() == pytest.approx(evaluation.flat(), abs=1e-6)


def test_the_same_state_gives_the_same_figures(evaluation, funnel, requests, queries):
    assert evaluate_funnel(funnel, requests, queries, CONFIG, rng=rng()).flat() == evaluation.flat()


def test_a_large_window_samples_the_requests_whose_candidates_are_looked_at(funnel, requests, queries, monkeypatch):
    monkeypatch.setattr(funnel_metrics, "_ROW_REQUESTS", 3)
    ranker = evaluate_funnel(funnel, requests, queries, CONFIG, rng=rng()).ranker
    shown = (funnel.rank(queries, 20).codes >= 0).sum(axis=1)
    assert ranker.rows <= 3 * shown.max()


def test_ten_is_always_among_the_list_lengths(funnel, requests, queries):
    config = EvaluationConfig(ks=(3,), bootstrap=10)
    evaluation = evaluate_funnel(funnel, requests, queries, config, rng=rng())
    assert evaluation.ks == (3, 10)
    assert evaluation.codes.shape == (len(requests), 10)


def test_lists_longer_than_the_candidates_are_padded(funnel, requests, queries):
    config = EvaluationConfig(ks=(500,), bootstrap=10)
    evaluation = evaluate_funnel(funnel, requests, queries, config, rng=rng())
    assert evaluation.codes.shape == evaluation.scores.shape == (len(requests), 500)
    assert (evaluation.codes[:, -1] == -1).all()
    assert np.isneginf(evaluation.scores[:, -1]).all()


def test_slices_by_history_average_their_requests(evaluation, funnel, requests, queries):
    wanted, lists = positives(requests), answers(funnel, queries)["funnel"]
    table = evaluation.slices[0]
    assert sum(row.count for row in table.rows) == len(requests)
    bounds = {"0": (0, 1), "1-9": (1, 10), "10-49": (10, 50), "50-199": (50, 200), "200+": (200, 10**9)}
    for row in table.rows:
        low, high = bounds[row.name]
        inside = np.flatnonzero((queries.lengths >= low) & (queries.lengths < high)).tolist()
        assert row.count == len(inside)
        assert row.values["funnel"] == pytest.approx(np.mean([ndcg(lists[i], wanted[i], 10) for i in inside]))


def test_slices_by_popularity_count_positives(evaluation, funnel, requests, queries):
    counts = funnel.parts.popularity
    order = sorted(range(len(counts)), key=lambda code: (-counts[code], code))
    head = set(order[: math.ceil(len(order) * 0.1)])
    wanted, lists = positives(requests), answers(funnel, queries)["funnel"]
    table = evaluation.slices[1]
    assert sum(row.count for row in table.rows) == len(requests.positives)
    row = {row.name: row for row in table.rows}["head"]
    assert row.count == sum(len(right & head) for right in wanted)
    found = sum(len(set(codes[:10]) & right & head) for codes, right in zip(lists, wanted, strict=True))
    assert row.values["funnel"] == found / row.count


def test_flat_names_every_figure(evaluation):
    flat = evaluation.flat()
    assert flat["funnel/ndcg@10"] == evaluation.stage("funnel").metrics["ndcg"][10].mean
    assert flat["route.cf/recall@20/high"] == evaluation.stage("route.cf").metrics["recall"][20].high
    assert flat["loss/recall"] == evaluation.loss.recall
    assert flat["ranker/auc"] == evaluation.ranker.auc
    assert flat["requests"] == 12.0
    assert f"funnel_vs_{evaluation.best_route}/ndcg@10/low" in flat
    assert all(math.isfinite(value) for value in flat.values())


def test_nothing_to_ask_and_nothing_to_find_are_refused(funnel, queries):
    none = requests_of([])
    with pytest.raises(DataError, match="evaluation: no requests; the test window holds no positive event; widen"):
        evaluate_funnel(funnel, none, queries.take(slice(0, 0)), CONFIG, rng=rng())
    with pytest.raises(DataError, match="evaluation: request 1 has no positive; expected at least one; leave such"):
        evaluate_funnel(funnel, requests_of([{1}, set()]), queries.take(slice(0, 2)), CONFIG, rng=rng())


def test_lists_are_written_in_outside_ids(evaluation, funnel, requests, tmp_path):
    write_lists(funnel, requests, evaluation, tmp_path)
    answers = pq.read_table(tmp_path / "test_top_k.parquet").to_pylist()
    right = pq.read_table(tmp_path / "test_positives.parquet").to_pylist()
    items, users = funnel.parts.items.ids.to_pylist(), funnel.parts.users.ids.to_pylist()
    first = [row for row in answers if row["request"] == 0]
    assert [row["rank"] for row in first] == list(range(1, len(first) + 1))
    assert [row["item_id"] for row in first] == [items[c] for c in evaluation.codes[0].tolist() if c >= 0]
    assert {row["user_id"] for row in first} == {users[0]}
    assert [row["score"] for row in first] == sorted((row["score"] for row in first), reverse=True)
    last = {row["item_id"] for row in right if row["request"] == 11}
    assert last == {items[code] for code in positives(requests)[11]}
    found = {(row["request"], row["item_id"]) for row in answers if row["rank"] <= 10}
    hits = [(row["request"], row["item_id"]) in found for row in right]
    assert np.mean(hits) == pytest.approx(evaluation.loss.found), "the figures can be computed again from the files"
