import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.config import DataConfig
from recsys.data.split_config import RANK, RECALL, TEST, VALID
from recsys.data.tables import Dataset
from recsys.errors import ArtifactError
from recsys.features.catalogue import item_catalogue, user_catalogue
from recsys.features.history import (
    Events,
    Histories,
    Requests,
    events_from,
    list_requests,
    row_requests,
    window_requests,
)

EVERYTHING = np.iinfo(np.int32).max


def log(rows, n_users=3):
    """Events from (user, item, positive, window), in order, and the histories of all of them."""
    user, item, positive, window = (np.array(column) for column in zip(*rows, strict=True))
    events = Events(
        user.astype(np.int32),
        item.astype(np.int32),
        np.arange(len(rows), dtype=np.int64),
        positive.astype(bool),
        window.astype(np.int8),
    )
    return events, Histories.build(events, n_users)


@st.composite
def logs(draw):
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40
        )
    )
    return log(rows, n_users=4)


def seen_before(events, user, position):
    """Five-line oracle: the user's positive items before a position of the log."""
    return [int(events.item[i]) for i in range(position) if events.user[i] == user and events.positive[i]]


def test_histories_hold_positives_in_order():
    _, histories = log([(1, 5, 1, 0), (0, 3, 1, 0), (1, 4, 0, 0), (1, 2, 1, 0)])
    assert histories.offsets.tolist() == [0, 1, 3, 3]
    assert histories.items.tolist() == [3, 5, 2]
    assert histories.positions.tolist() == [1, 0, 3]


def test_batch_pads_on_the_right_and_cuts_at_the_length():
    _, histories = log([(1, 5, 1, 0), (0, 3, 1, 0), (1, 4, 1, 0)])
    history, lengths = histories.batch(np.array([1, 0, 2]), np.array([1, 1, 0]))
    assert history.tolist() == [[5], [3], [-1]]
    assert lengths.tolist() == [1, 1, 0]
    assert history.dtype == lengths.dtype == np.int32
    whole, lengths = histories.batch(np.array([1, 2]))
    assert whole.tolist() == [[5, 4], [-1, -1]]


def test_batch_of_users_without_events_keeps_one_column():
    _, histories = log([(0, 1, 0, 0)])
    history, lengths = histories.batch(np.array([0, 1]))
    assert history.shape == (2, 1)
    assert lengths.tolist() == [0, 0]


def test_window_requests_see_what_came_before_the_window():
    rows = [(0, 1, 1, RECALL), (0, 2, 1, RANK), (0, 3, 1, VALID), (0, 4, 1, TEST), (0, 5, 1, TEST), (1, 9, 1, RECALL)]
    events, histories = log(rows)
    requests = window_requests(events, histories, TEST)
    assert requests.user.tolist() == [0]
    assert requests.as_of.tolist() == [3]
    assert requests.positives.tolist() == [4, 5]
    assert requests.event.tolist() == [3]
    assert window_requests(events, histories, VALID).as_of.tolist() == [2]


def test_requests_of_one_event_see_the_events_before_it():
    events, histories = log([(0, 1, 1, RECALL), (0, 4, 1, TEST), (1, 7, 1, RECALL), (0, 5, 1, TEST)])
    requests = window_requests(events, histories, TEST, per="event")
    assert requests.as_of.tolist() == [1, 2]
    assert requests.positives.tolist() == [4, 5]
    assert requests.offsets.tolist() == [0, 1, 2]


def test_held_out_events_of_a_random_split_are_never_seen():
    rows = [(0, 1, 1, TEST), (0, 2, 1, RECALL), (0, 3, 1, VALID), (0, 4, 1, RECALL)]
    events, _ = log(rows)
    histories = Histories.build(events, 1, events.window <= RANK)
    requests = window_requests(events, histories, TEST)
    # No visible event is later than the training windows: all of them are seen.
    assert histories.batch(requests.user, requests.as_of)[0].tolist() == [[2, 4]]


def test_seen_positives_are_dropped_when_they_are_withheld():
    rows = [(0, 1, 1, RECALL), (0, 2, 1, RECALL), (0, 1, 1, TEST), (0, 3, 1, TEST)]
    events, histories = log(rows)
    assert window_requests(events, histories, TEST).positives.tolist() == [1, 3]
    assert window_requests(events, histories, TEST, withheld=EVERYTHING).positives.tolist() == [3]
    assert window_requests(events, histories, TEST, withheld=1).positives.tolist() == [1, 3]
    assert window_requests(events, histories, TEST, withheld=2).positives.tolist() == [3]


def test_a_request_whose_positives_are_all_withheld_is_no_request():
    events, histories = log([(0, 1, 1, RECALL), (0, 1, 1, TEST)])
    assert len(window_requests(events, histories, TEST, withheld=EVERYTHING)) == 0


def test_a_window_without_events_asks_nothing():
    events, histories = log([(0, 1, 1, RECALL)])
    requests = window_requests(events, histories, TEST)
    assert len(requests) == 0
    assert requests.offsets.tolist() == [0]


@given(logs())
@settings(max_examples=60, deadline=None)
def test_event_requests_agree_with_the_oracle(pair):
    events, histories = pair
    for window in range(4):
        requests = window_requests(events, histories, window, per="event")
        for number, at in enumerate(requests.event):
            begin = histories.offsets[requests.user[number]]
            seen = histories.items[begin : begin + requests.as_of[number]].tolist()
            assert seen == seen_before(events, requests.user[number], at)
        assert len(requests) == int((events.positive & (events.window == window)).sum())


@given(logs(), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_withheld_positives_agree_with_the_oracle(pair, recent):
    events, histories = pair
    requests = window_requests(events, histories, TEST, per="event", withheld=recent)
    kept = []
    for at in np.flatnonzero(events.positive & (events.window == TEST)):
        seen = seen_before(events, events.user[at], at)
        if not recent or events.item[at] not in seen[-recent:]:
            kept.append(int(at))
    assert requests.event.tolist() == kept


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_nothing_after_a_request_changes_it(pair, data):
    events, histories = pair
    at = data.draw(st.integers(0, len(events) - 1))
    row = row_requests(events, histories, np.array([at]))
    changed = Events(*(np.array(getattr(events, name)) for name in ("user", "item", "time", "positive", "window")))
    changed.item[at + 1 :] = 0
    changed.positive[at:] = False
    later = Histories.build(changed, 4)
    again = row_requests(changed, later, np.array([at]))
    assert row.as_of.tolist() == again.as_of.tolist()
    assert histories.batch(row.user, row.as_of)[0].tolist() == later.batch(again.user, again.as_of)[0].tolist()


def test_row_requests_carry_the_item_of_a_positive_row():
    events, histories = log([(0, 1, 1, RECALL), (0, 2, 0, RECALL), (0, 3, 1, RECALL)])
    requests = row_requests(events, histories, np.array([1, 2]))
    assert requests.as_of.tolist() == [1, 1]
    assert requests.offsets.tolist() == [0, 0, 1]
    assert requests.positives.tolist() == [3]


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_lists_agree_with_the_oracle(pair, data):
    events, histories = pair
    at = np.array(sorted(data.draw(st.sets(st.integers(0, len(events) - 1), min_size=1))))
    numbers = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(at), max_size=len(at))))
    requests, members = list_requests(events, histories, at, numbers)
    expected = {}
    for position, number in zip(at.tolist(), numbers.tolist(), strict=True):
        expected.setdefault((int(events.user[position]), number), []).append(position)
    assert [[m for m in row if m >= 0] for row in members.tolist()] == list(expected.values())
    for row, rows in enumerate(expected.values()):
        first = row_requests(events, histories, np.array(rows[:1]))
        assert (requests.user[row], requests.as_of[row]) == (first.user[0], first.as_of[0])
        assert requests.event[row] == rows[0]
        own = requests.positives[requests.offsets[row] : requests.offsets[row + 1]].tolist()
        assert own == sorted({int(events.item[m]) for m in rows if events.positive[m]})


def test_take_and_padded_positives():
    requests = Requests(
        np.array([4, 5, 6], np.int32),
        np.array([1, 2, 3]),
        np.array([0, 2, 2, 5]),
        np.array([7, 8, 1, 2, 3], np.int32),
        np.array([0, 1, 2]),
    )
    assert requests.padded_positives().tolist() == [[7, 8, -1], [-1, -1, -1], [1, 2, 3]]
    taken = requests.take(np.array([2, 0]))
    assert taken.user.tolist() == [6, 4]
    assert taken.padded_positives().tolist() == [[1, 2, 3], [7, 8, -1]]


def test_everything_comes_back_from_disk(tmp_path):
    events, histories = log([(0, 1, 1, RECALL), (0, 4, 1, TEST), (1, 7, 0, RECALL)])
    events.save(tmp_path / "events")
    loaded = Events.load(tmp_path / "events")
    assert loaded.item.tolist() == events.item.tolist()
    requests = window_requests(events, histories, TEST)
    requests.save(tmp_path / "requests")
    assert Requests.load(tmp_path / "requests").positives.tolist() == [4]
    histories.save(tmp_path)
    assert Histories.load(tmp_path).items.tolist() == histories.items.tolist()


def test_damaged_histories_are_refused(tmp_path):
    _, histories = log([(0, 1, 1, RECALL), (0, 4, 1, TEST)])
    histories.save(tmp_path)
    np.save(tmp_path / "items.npy", histories.items[:1])
    with pytest.raises(ArtifactError, match="the offsets do not fit 1 items"):
        Histories.load(tmp_path)
    (tmp_path / "items.npy").write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match=r"items\.npy: cannot be read"):
        Histories.load(tmp_path)


def test_events_of_tables():
    data = DataConfig.model_validate(
        {
            "interactions": {"path": "x.csv", "labels": ["rating"]},
            "positive": {"label": "rating", "at_least": 4},
        }
    )
    interactions = pa.table(
        {
            "user_id": pa.array(["b", "a"], pa.large_string()),
            "item_id": pa.array(["x y", "東京"], pa.large_string()),
            "timestamp": pa.array([1, 2], pa.timestamp("us", tz="UTC")),
            "rating": pa.array([4.0, None], pa.float32()),
        }
    )
    dataset = Dataset(interactions)
    users, items = user_catalogue(dataset), item_catalogue(dataset)
    events = events_from(dataset, users, items, data, np.zeros(2, np.int8))
    assert users.decode(events.user).to_pylist() == ["b", "a"]
    assert items.decode(events.item).to_pylist() == ["x y", "東京"]
    assert events.time.tolist() == [1, 2]
    assert events.positive.tolist() == [True, False]
