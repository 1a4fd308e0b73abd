"""What every registered scorer promises."""

import numpy as np
import pytest

from recsys.errors import ArtifactError
from recsys.scoring.base import Scorer
from recsys.scoring.onnx import OnnxScorer
from recsys.scoring.registry import SCORERS, load_scorer, save_scorer

MAKERS = {"onnx": OnnxScorer}
"""From the graph of the fixture to a scorer of (B,) `user.age` and (B, C) `item.year`."""


def test_every_scorer_is_held_to_the_contract():
    assert set(MAKERS) == set(SCORERS)


@pytest.fixture(params=sorted(MAKERS))
def scorer(request, small_graph):
    return MAKERS[request.param](small_graph)


@pytest.fixture
def folder(scorer, tmp_path):
    save_scorer(scorer, tmp_path / "scorer")
    return tmp_path / "scorer"


def inputs(requests, candidates):
    rng = np.random.default_rng(requests * 100 + candidates)
    age, year = rng.normal(size=requests), rng.normal(size=(requests, candidates))
    return {"user.age": age.astype(np.float32), "item.year": year.astype(np.float32)}


def test_is_a_scorer(scorer):
    assert isinstance(scorer, Scorer)


@pytest.mark.parametrize("requests", [1, 3])
@pytest.mark.parametrize("candidates", [1, 5])
def test_gives_a_finite_float32_for_each_candidate_and_task(scorer, requests, candidates):
    scores = scorer.score(inputs(requests, candidates))
    assert scores.shape == (requests, candidates, 1)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_batch_equals_one_at_a_time(scorer):
    given = inputs(4, 6)
    together = scorer.score(given)
    alone = [scorer.score({name: values[[row]] for name, values in given.items()})[0] for row in range(4)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=0, atol=1e-6)


def test_order_of_candidates_changes_nothing(scorer):
    given, order = inputs(2, 6), np.random.default_rng(0).permutation(6)
    turned = given | {"item.year": given["item.year"][:, order]}
    np.testing.assert_allclose(scorer.score(turned), scorer.score(given)[:, order], rtol=0, atol=1e-6)


def test_order_of_inputs_changes_nothing(scorer):
    given = inputs(2, 3)
    assert np.array_equal(scorer.score(dict(reversed(given.items()))), scorer.score(given))


def test_saved_and_loaded_gives_the_same_scores(scorer, folder):
    np.testing.assert_allclose(
        load_scorer(folder).score(inputs(3, 4)), scorer.score(inputs(3, 4)), rtol=1e-5, atol=1e-5
    )


def test_same_scorer_saves_the_same_bytes(scorer, folder, tmp_path):
    save_scorer(load_scorer(folder), tmp_path / "again")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()
    }


def test_every_missing_or_cut_file_is_named(folder):
    for path in list(folder.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ArtifactError, match=path.name):
            load_scorer(folder)
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ArtifactError, match=path.name):
            load_scorer(folder)
        path.write_bytes(content)
    load_scorer(folder)


def test_a_missing_input_is_named(scorer):
    with pytest.raises(ArtifactError, match=r"item\.year"):
        scorer.score({"user.age": np.zeros(1, dtype=np.float32)})
