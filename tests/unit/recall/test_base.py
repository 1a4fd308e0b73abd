import numpy as np

from recsys.features.history import Histories
from recsys.recall.base import TrainingData


def test_what_was_seen_counts_once_and_leaves_the_log_alone():
    histories = Histories(np.array([0, 5, 5, 7]), np.array([2, 0, 2, 2, 1, 1, 1], np.int32), np.arange(7))
    kept = [array.copy() for array in (histories.offsets, histories.items)]
    data = TrainingData(histories, np.zeros(7, np.int64), {}, {}, (), (), 4, True, 0)
    assert data.seen().toarray().tolist() == [[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert data.counts.tolist() == [1, 3, 3, 0]
    for before, after in zip(kept, (histories.offsets, histories.items), strict=True):
        assert (before == after).all()
