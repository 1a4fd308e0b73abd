import numpy as np

from recsys.features.batch import QueryBatch
from recsys.funnel.match_features import MatchFeatures

ITEMS = {
    "item.item_id": np.arange(2, 6),
    "item.genres": np.array([[1, 2], [2, 0], [3, 0], [0, 0]]),
    "item.colour": np.array([1, 1, 2, 2]),
    "item.year": np.array([0.0, 1.0, -1.0, 2.0], dtype=np.float32),
    "item.shop": np.array([1, 2, 3, 5000]),
}
MATCH = MatchFeatures(ITEMS)


def queries(*histories):
    width = max(1, *(len(h) for h in histories))
    padded = np.array([[*h, *[-1] * (width - len(h))] for h in histories], dtype=np.int32)
    return QueryBatch(padded, np.array([len(h) for h in histories], dtype=np.int32), {})


def test_index_fields_give_the_cosine_and_numbers_the_distance():
    codes = np.array([[0, 1, 2, 3, -1]], dtype=np.int32)
    found = MATCH(queries([0, 1]), codes)
    assert tuple(found) == MATCH.names
    assert "route.match.item_id" not in found
    assert "route.match.shop" not in found
    old, new = 0.85, 1.0
    norm = np.hypot(old, old + new)  # genre 1 from item 0; genre 2 from items 0 and 1
    genres = [(old + old + new) / norm / np.sqrt(2), (old + new) / norm, 0.0, 0.0, 0.0]
    mean = (old * 0.0 + new * 1.0) / (old + new)
    year = [-abs(y - mean) for y in (0.0, 1.0, -1.0, 2.0)] + [0.0]
    np.testing.assert_allclose(found["route.match.genres"], [genres], rtol=1e-6)
    np.testing.assert_allclose(found["route.match.colour"], [[1.0, 1.0, 0.0, 0.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(found["route.match.year"], [year], rtol=1e-6)
    np.testing.assert_allclose(found["route.history.length"], [[np.log(3) / 4] * 4 + [0.0]], rtol=1e-6)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_only_the_last_twenty_items_count():
    long, short = queries([2, *[0, 1] * 10]), queries([0, 1] * 10)
    codes = np.array([[0, 1, 2, 3]], dtype=np.int32)
    for name, values in MATCH(long, codes).items():
        if name != "route.history.length":
            np.testing.assert_allclose(values, MATCH(short, codes)[name], rtol=1e-6)


def test_no_history_gives_zeros():
    for values in MATCH(queries([]), np.array([[0, 1]], dtype=np.int32)).values():
        assert values.tolist() == [[0.0, 0.0]]


def test_a_batch_equals_one_at_a_time():
    histories = [[0], [], [1, 2, 3], [3, 3, 0, 1]]
    codes = np.array([[0, 1, -1], [2, 3, 1], [3, 2, 1], [-1, -1, 0]], dtype=np.int32)
    together = MATCH(queries(*histories), codes)
    for row, history in enumerate(histories):
        for name, values in MATCH(queries(history), codes[[row]]).items():
            np.testing.assert_allclose(together[name][row], values[0], rtol=1e-5, atol=1e-5)
