"""What every registered ranking metric promises, and what the other metrics equal."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn
from sklearn.calibration import calibration_curve

from recsys.metrics.classification import auc, calibration_error, gauc, logloss
from recsys.metrics.coverage import catalogue_coverage, gini
from recsys.metrics.ranking import hit_rate_at_k, map_at_k, mrr_at_k, ndcg_at_k, recall_at_k, relevance
from recsys.metrics.registry import RANKING_METRICS

PROPERTY = settings(max_examples=60, deadline=None)
CUTS = (1, 2, 3, 5, 8, 50)
BRUTE_FORCE = {
    "ndcg": lambda ranks, n, k: (
        sum(1 / math.log2(rank + 1) for rank in ranks if rank <= k)
        / sum(1 / math.log2(rank + 1) for rank in range(1, min(k, n) + 1))
    ),
    "recall": lambda ranks, n, k: len([rank for rank in ranks if rank <= k]) / n,
    "hit_rate": lambda ranks, n, k: float(any(rank <= k for rank in ranks)),
    "mrr": lambda ranks, n, k: max((1 / rank for rank in ranks if rank <= k), default=0.0),
    "map": lambda ranks, n, k: sum((found + 1) / rank for found, rank in enumerate(ranks) if rank <= k) / min(k, n),
}
"""From the positions (from 1) of the found positives, how many positives there are, and k."""


@st.composite
def answers(draw, width=8):
    """Hits of some requests, and how many positives each has: at least those found, and at least one."""
    hits = draw(hnp.arrays(bool, (draw(st.integers(1, 6)), width)))
    missed = draw(hnp.arrays(np.int64, len(hits), elements=st.integers(0, 5)))
    return hits, np.maximum(hits.sum(axis=1) + missed, 1)


@pytest.fixture(params=sorted(RANKING_METRICS))
def metric(request):
    return RANKING_METRICS[request.param]


@pytest.mark.parametrize("name", RANKING_METRICS)
@PROPERTY
@given(answers(), st.sampled_from(CUTS))
def test_a_metric_equals_its_definition(name, answer, k):
    hits, n_positives = answer
    expected = [
        BRUTE_FORCE[name]([int(i) + 1 for i in np.flatnonzero(row)], n, k)
        for row, n in zip(hits, n_positives.tolist(), strict=True)
    ]
    np.testing.assert_allclose(RANKING_METRICS[name](hits, n_positives, k), expected, rtol=1e-12)


@pytest.mark.parametrize("name", RANKING_METRICS)
@PROPERTY
@given(answers(), st.sampled_from(CUTS))
def test_values_are_one_a_request_between_0_and_1(name, answer, k):
    hits, n_positives = answer
    values = RANKING_METRICS[name](hits, n_positives, k)
    assert values.dtype == np.float64
    assert values.shape == (len(hits),)
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    assert (values > 0).tolist() == hits[:, :k].any(axis=1).tolist()


@pytest.mark.parametrize("name", ["recall", "hit_rate", "mrr"])
@PROPERTY
@given(answers())
def test_a_longer_list_never_lowers_what_has_no_ideal_at_k(name, answer):
    by_k = [RANKING_METRICS[name](*answer, k) for k in range(1, 10)]
    assert (np.diff(by_k, axis=0) >= 0).all()


@pytest.mark.parametrize("name", RANKING_METRICS)
@PROPERTY
@given(answers(), st.sampled_from(CUTS), st.randoms(use_true_random=False))
def test_requests_do_not_see_one_another(name, answer, k, random):
    hits, n_positives = answer
    order = random.sample(range(len(hits)), len(hits))
    values = RANKING_METRICS[name](hits, n_positives, k)
    np.testing.assert_allclose(RANKING_METRICS[name](hits[order], n_positives[order], k), values[order], rtol=1e-12)


@pytest.mark.parametrize("name", RANKING_METRICS)
@PROPERTY
@given(answers(), st.data())
def test_a_positive_moved_up_never_lowers_a_metric(name, answer, data):
    hits, n_positives = answer
    better = hits.copy()
    above = data.draw(st.integers(0, hits.shape[1] - 2))
    better[:, [above, above + 1]] = np.sort(hits[:, [above, above + 1]], axis=1)[:, ::-1]
    assert (RANKING_METRICS[name](better, n_positives, 5) >= RANKING_METRICS[name](hits, n_positives, 5)).all()


def test_a_perfect_list_scores_1_and_an_empty_one_0(metric):
    everything, nothing = np.ones((1, 5), dtype=bool), np.zeros((1, 5), dtype=bool)
    assert metric(everything, np.array([5]), 5) == pytest.approx([1])
    assert metric(nothing, np.array([5]), 5) == [0]
    assert metric(nothing[:, :0], np.array([5]), 5) == [0]


def test_more_positives_than_places_still_reach_1_where_the_ideal_is_at_k():
    full, many = np.ones((1, 3), dtype=bool), np.array([30])
    assert ndcg_at_k(full, many, 3) == map_at_k(full, many, 3) == hit_rate_at_k(full, many, 3) == pytest.approx([1])
    assert mrr_at_k(full, many, 3) == [1]
    assert recall_at_k(full, many, 3) == pytest.approx([3 / 30])


def test_a_short_list_counts_as_padded_with_misses(metric):
    hits = np.array([[False, True, True]])
    padded = np.pad(hits, ((0, 0), (0, 17)))
    assert metric(hits, np.array([4]), 20) == pytest.approx(metric(padded, np.array([4]), 20))


def test_a_request_without_positives_scores_0(metric):
    assert metric(np.zeros((1, 3), dtype=bool), np.array([0]), 3) == [0]


def test_a_list_length_below_1_is_refused(metric):
    with pytest.raises(ValueError, match="k: 0 is not a list length; expected at least 1"):
        metric(np.ones((1, 3), dtype=bool), np.array([3]), 0)


@PROPERTY
@given(answers(), st.sampled_from(CUTS[:-1]))
def test_ndcg_equals_sklearn_where_every_positive_is_in_the_list(answer, k):
    hits = answer[0][answer[0].any(axis=1)]
    ranked = np.tile(-np.arange(hits.shape[1], dtype=float), (len(hits), 1))
    expected = [sklearn.ndcg_score(row[None], scores[None], k=k) for row, scores in zip(hits, ranked, strict=True)]
    np.testing.assert_allclose(ndcg_at_k(hits, hits.sum(axis=1), k), expected)


@PROPERTY
@given(st.lists(st.sets(st.integers(0, 12), max_size=5), min_size=1, max_size=6), st.data())
def test_relevance_is_membership(positives, data):
    lists = [
        data.draw(st.lists(st.integers(-1, 13), min_size=4, max_size=4, unique_by=lambda c: c if c >= 0 else object()))
        for _ in positives
    ]
    offsets = np.cumsum([0, *map(len, positives)])
    flat = np.array([c for wanted in positives for c in sorted(wanted)], dtype=np.int32)
    expected = [[code in wanted for code in row] for row, wanted in zip(lists, positives, strict=True)]
    found = relevance(np.array(lists, dtype=np.int32), offsets, flat)
    assert found.tolist() == expected


def test_relevance_takes_codes_near_the_end_of_int32():
    top = np.iinfo(np.int32).max
    codes = np.array([[top, top - 1], [0, top]], dtype=np.int32)
    positives = np.array([top - 1, 0, top], dtype=np.int32)
    assert relevance(codes, np.array([0, 1, 3]), positives).tolist() == [[False, True], [True, True]]


def test_relevance_of_no_lists_and_no_positives():
    none = np.empty(0, np.int32)
    assert relevance(np.empty((0, 5), np.int32), np.array([0]), none).shape == (0, 5)
    assert relevance(np.array([[1, 2]], np.int32), np.array([0, 0]), none).tolist() == [[False, False]]


LABELLED = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int8, n, elements=st.integers(0, 1)),
        hnp.arrays(np.float32, n, elements=st.sampled_from([-np.inf, -2.5, 0.0, 1.0, 1.5, 7.0])),
        hnp.arrays(np.int64, n, elements=st.integers(-1, 3)),
    )
)


def pairs_auc(labels, scores):
    pairs = list(itertools.product(scores[labels > 0].tolist(), scores[labels == 0].tolist()))
    return sum((hit > miss) + 0.5 * (hit == miss) for hit, miss in pairs) / len(pairs) if pairs else math.nan


@PROPERTY
@given(LABELLED)
def test_auc_counts_pairs_and_equals_sklearn(rows):
    labels, scores, _ = rows
    assert auc(labels, scores) == pytest.approx(pairs_auc(labels, scores), nan_ok=True)
    if 0 < labels.sum() < len(labels):
        finite = np.maximum(scores, -1e9)  # scikit-learn refuses infinity
        assert auc(labels, scores) == pytest.approx(sklearn.roc_auc_score(labels, finite))


@PROPERTY
@given(LABELLED)
def test_auc_keeps_under_what_keeps_the_order_and_turns_with_it(rows):
    labels, scores, _ = rows
    scores = np.maximum(scores, -10)
    assert auc(labels, np.exp(scores) * 3 + 1) == pytest.approx(auc(labels, scores), nan_ok=True)
    assert auc(labels, -scores) == pytest.approx(1 - auc(labels, scores), nan_ok=True)


@PROPERTY
@given(LABELLED)
def test_gauc_is_the_weighted_mean_of_the_aucs_of_mixed_groups(rows):
    labels, scores, groups = rows
    parts = [(pairs_auc(labels[groups == g], scores[groups == g]), (groups == g).sum()) for g in np.unique(groups)]
    mixed = [(value, weight) for value, weight in parts if not math.isnan(value)]
    expected = sum(v * w for v, w in mixed) / sum(w for _, w in mixed) if mixed else math.nan
    assert gauc(labels, scores, groups) == pytest.approx(expected, nan_ok=True)
    order = np.random.default_rng(0).permutation(len(labels))
    assert gauc(labels[order], scores[order], groups[order]) == pytest.approx(expected, nan_ok=True)


def test_auc_is_exact_on_many_rows():
    labels = np.tile([0, 1], 200_000)
    assert auc(labels, np.zeros(len(labels))) == 0.5
    assert auc(labels, labels) == 1.0


@pytest.mark.parametrize("labels", [[], [1, 1], [0]])
def test_one_class_has_no_auc(labels):
    labels = np.array(labels)
    assert math.isnan(auc(labels, np.zeros(len(labels))))
    assert math.isnan(gauc(labels, np.zeros(len(labels)), labels))


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="scores: hold NaN, which has no place in an order; look for the model"):
        auc(np.array([0, 1]), np.array([np.nan, 1]))


@PROPERTY
@given(LABELLED)
def test_logloss_equals_sklearn(rows):
    labels, scores, _ = rows
    logits = np.maximum(scores, -5).astype(np.float64)
    expected = sklearn.log_loss(labels, 1 / (1 + np.exp(-logits)), labels=[0, 1])
    assert logloss(labels, logits) == pytest.approx(expected)


def test_logloss_of_a_sure_model():
    assert logloss(np.array([1, 0]), np.array([800.0, -800.0])) == 0
    assert logloss(np.array([0, 1]), np.array([800.0, -800.0])) == 800
    assert logloss(np.array([1]), np.array([-np.inf])) == 1e30
    assert math.isnan(logloss(np.array([]), np.array([])))


@PROPERTY
@example([(False, 0.0)] * 6 + [(False, 1.0)] * 3 + [(True, 0.5)], 3)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=16)), min_size=1, max_size=60), st.integers(1, 20))
def test_calibration_error_is_the_gap_in_sklearns_reliability_curve(rows, bins):
    labels, chances = np.array([y for y, _ in rows]), np.array([p for _, p in rows])
    share, mean = calibration_curve(labels, chances, n_bins=bins, strategy="quantile", pos_label=True)
    edges = np.percentile(chances, np.linspace(0, 1, bins + 1) * 100)
    counts = np.bincount(np.searchsorted(edges[1:-1], chances))
    expected = np.abs(share - mean) @ counts[counts > 0] / len(rows)
    assert calibration_error(labels, chances, bins=bins) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(calibration_error(np.array([]), np.array([])))


LISTS = hnp.arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(-1, 9))


@PROPERTY
@given(LISTS)
def test_coverage_is_the_share_of_items_shown(codes):
    assert catalogue_coverage(codes, 10) == len(set(codes.ravel().tolist()) - {-1}) / 10


@PROPERTY
@given(LISTS)
def test_gini_is_half_the_relative_mean_difference(codes):
    counts = [int((codes == item).sum()) for item in range(10)]
    if not sum(counts):
        assert math.isnan(gini(codes, 10))
        return
    differences = sum(abs(a - b) for a in counts for b in counts)
    assert gini(codes, 10) == pytest.approx(differences / (2 * 10 * sum(counts)))
