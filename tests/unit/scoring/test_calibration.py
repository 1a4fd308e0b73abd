"""Maps from scores to probabilities, against scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from recsys.scoring.calibration import Calibration, Isotonic, Platt
from recsys.scoring.calibration_fit import fit_calibration, fit_isotonic, fit_platt

RNG = np.random.default_rng(0)
SCORES = np.round(RNG.normal(scale=2, size=3000), 2).astype(np.float32)
LABELS = RNG.random(3000) < expit(0.5 * SCORES - 1.5)
ASKED = np.linspace(-12, 12, 501)
rows = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30)


def test_platt_is_the_logistic_regression_on_smoothed_labels():
    p, n = LABELS.sum(), (~LABELS).sum()
    target = np.where(LABELS, (p + 1) / (p + 2), 1 / (n + 2))
    # A soft label t is a row of each class, weighing t and 1 − t.
    both, weight = np.concatenate([SCORES, SCORES])[:, None], np.concatenate([target, 1 - target])
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    oracle.fit(both, np.repeat([1, 0], len(SCORES)), sample_weight=weight)
    found = fit_platt(SCORES, LABELS)
    assert found.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(oracle.intercept_[0], rel=1e-4)


def test_isotonic_is_the_bounded_isotonic_regression_and_as_few_points_as_it_needs():
    least = 1 / (len(SCORES) + 2)
    oracle = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(SCORES, LABELS)
    found = fit_isotonic(SCORES, LABELS)
    np.testing.assert_allclose(expit(found.log_odds(ASKED)), oracle.predict(ASKED), atol=1e-6)
    assert len(found.scores) == len(oracle.X_thresholds_) < len(np.unique(SCORES))


@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from(["platt", "isotonic"]))
def test_no_map_changes_an_order_and_no_probability_is_0_or_1(told, kind):
    scores, labels = np.array([score for score, _ in told], dtype=np.float32), np.array([y for _, y in told])
    odds = fit_calibration(kind, scores, labels).log_odds(ASKED)
    assert np.isfinite(odds).all()
    assert (np.diff(odds) >= 0).all()
    if kind == "isotonic":
        assert (expit(odds) >= 1 / (len(told) + 2) - 1e-12).all()


def test_scores_that_tell_the_classes_apart_get_a_finite_line():
    found = fit_platt(np.array([-2.0, -1, 1, 2]), np.array([0, 0, 1, 1]))
    assert 0 < found.slope < 10
    assert found.intercept == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scores", [[3.0, 2, 1, 0], [5.0] * 4])
def test_scores_that_say_nothing_or_the_contrary_get_the_base_rate(scores):
    found = fit_platt(np.array(scores), np.array([0, 0, 1, 1]))
    assert found == Platt(0.0, pytest.approx(0, abs=1e-9))


def test_an_item_that_overflowed_gets_a_probability():
    lowest = np.array([np.finfo(np.float32).min, -np.inf], dtype=np.float32)
    for own in (Platt(0.5, 1.0), Isotonic((-1.0, 1.0), (0.25, 0.75))):
        assert (expit(own.log_odds(lowest)) <= 0.25).all()


def test_several_tasks_have_a_map_each_and_travel_as_json():
    both = Calibration((Platt(2.0, -1.0), Isotonic((0.0, 1.0), (0.2, 0.6))), (0.5, 0.25))
    scores = np.array([[[0.5, 0.5], [-3.0, 9.0]]], dtype=np.float32)
    np.testing.assert_allclose(both.probabilities(scores), [[[0.5, 0.4], [expit(-7), 0.6]]])
    np.testing.assert_allclose(both.log_odds(scores[..., 1], 1), logit([[0.4, 0.6]]))
    assert Calibration.from_json(json.loads(json.dumps(both.to_json()))) == both
    with pytest.raises(ValueError, match="found kind 'beta', expected platt or isotonic"):
        Calibration.from_json({"maps": [{"kind": "beta"}]})
