import numpy as np

from recsys.scoring.tasks import Tasks

LOGITS = np.random.default_rng(0).normal(scale=3, size=(2, 5, 3)).astype(np.float32)


def test_score_is_the_product_of_powers_of_probabilities():
    found = Tasks(("a", "b", "c"), (1.0, 0.0, 0.5)).score(LOGITS)
    chances = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    np.testing.assert_allclose(np.exp(found), chances[..., 0] * np.sqrt(chances[..., 2]), rtol=1e-5)
    assert found.dtype == np.float32


def test_score_of_one_task_is_its_logit():
    assert np.array_equal(Tasks(("a", "b", "c"), (0.0, 3.0, 0.0)).score(LOGITS), LOGITS[..., 1])


def test_extreme_logits_stay_finite():
    extreme = np.array([[[-1e4, 1e4], [1e4, -1e4]]], dtype=np.float32)
    assert np.isfinite(Tasks(("a", "b"), (1.0, 1.0)).score(extreme)).all()
