import numpy as np

from recsys.features.batch import QueryBatch
from recsys.features.history import Events, Histories
from recsys.recall.base import TrainingData
from recsys.recall.popular import fit
from recsys.recall.settings.static import PopularConfig

DAY = 86_400_000_000


def test_an_item_of_long_ago_comes_last_but_comes():
    item = np.array([2, 0, 1, 1], np.int32)
    # 0.5^2000 is no double and 0.5^160 no single; item 3 has no event.
    time = np.array([0, 1840, 2000, 2000], np.int64) * DAY
    events = Events(np.zeros(4, np.int32), item, time, np.ones(4, bool), np.zeros(4, np.int8))
    data = TrainingData(Histories.build(events, 1), time, {}, {}, (), (), 4, True, 2000 * DAY)
    retriever = fit(PopularConfig(kind="popular", half_life_days=1.0), data, None)
    asked = QueryBatch(np.array([[-1]], np.int32), np.zeros(1, np.int32), {})
    codes, scores = retriever.retrieve(asked, 4)
    assert codes.tolist() == [[1, 0, 2, -1]]
    assert scores[0, 0] == 2.0
    assert 0 < scores[0, 1] < 1e-37
