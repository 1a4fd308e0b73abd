"""TF-IDF against scikit-learn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys.recall.settings.content import TFIDFConfig

RNG = np.random.default_rng(4)
TEXTS = [" ".join(RNG.choice(["cat", "dog", "emu", "fox", "gnu", "hen"], n)) for n in RNG.integers(1, 9, 20)]


@pytest.mark.parametrize("log_counts", [True, False])
def test_it_is_the_cosine_of_scikit_learn(catalogue, asked, log_counts):
    weights = TfidfVectorizer(sublinear_tf=log_counts).fit_transform(TEXTS)
    expected = (weights @ weights.T).toarray()
    np.fill_diagonal(expected, 0.0)
    data = catalogue(title=TEXTS)
    config = TFIDFConfig(kind="tfidf", log_counts=log_counts)
    found = np.array([asked(config, data, [item]) for item in range(len(TEXTS))])
    assert_allclose(np.where(np.isfinite(found), found, 0.0), expected, rtol=1e-5)


def test_items_without_terms_count_for_nothing(catalogue, asked):
    config = TFIDFConfig(kind="tfidf")
    with_gaps = asked(config, catalogue(title=[None, *TEXTS, "", "!"]), [3])
    assert_allclose(with_gaps[1:-2], asked(config, catalogue(title=TEXTS), [2]))
    assert np.isinf(with_gaps[[0, -2, -1]]).all()
