import numpy as np
import pytest

from recsys.errors import ArtifactError
from recsys.features.batch import QueryBatch
from recsys.retrieval.static import StaticRetriever


def test_items_without_a_positive_score_never_come_back():
    asked = QueryBatch(np.array([[-1], [0]], np.int32), np.array([0, 1], np.int32), {})
    retriever = StaticRetriever(np.array([0.0, 2.0, -1.0, np.nan, -np.inf, 2.0, 3.0], np.float32))
    codes, scores = retriever.retrieve(asked, 5)
    assert codes.tolist() == [[6, 1, 5, -1, -1]] * 2
    assert scores[0].tolist() == [3.0, 2.0, 2.0, -np.inf, -np.inf]


@pytest.mark.parametrize("scores", [np.zeros((2, 2), np.float32), np.array(["a", "b"]), np.arange(3)])
def test_other_arrays_are_refused(scores, tmp_path):
    np.save(tmp_path / "scores.npy", scores)
    with pytest.raises(ArtifactError, match=r"expected \(N,\) floats; fit the route again"):
        StaticRetriever.load(tmp_path, {})
