import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from recsys.data.split import assign_windows, visible
from recsys.data.split_config import (
    RANK,
    RECALL,
    TEST,
    VALID,
    GivenSplit,
    GlobalTimeSplit,
    LeaveLastOutSplit,
    PerUserSplit,
    RandomSplit,
    SplitConfig,
    check_order,
    is_causal,
    protocol,
)
from recsys.errors import DataError, ProtocolError

SPLITS = [
    GlobalTimeSplit(kind="global_time"),
    PerUserSplit(kind="per_user"),
    LeaveLastOutSplit(kind="leave_last_out"),
    RandomSplit(kind="random"),
]
IN_ORDER = SPLITS[:3]
PROPERTY = settings(max_examples=60, deadline=None)


def rng():
    return np.random.default_rng(7)


@st.composite
def logs(draw, min_size=1, max_size=60):
    n = draw(st.integers(min_size, max_size))
    user = draw(hnp.arrays(np.int32, n, elements=st.integers(0, 5)))
    time = np.sort(draw(hnp.arrays(np.int64, n, elements=st.integers(0, 30))))
    return user, time


def windows_or_none(user, time, config):
    try:
        return assign_windows(user, time, config, rng())
    except DataError:
        return None


@pytest.mark.parametrize("config", SPLITS, ids=lambda c: c.kind)
@PROPERTY
@given(log=logs())
def test_every_event_falls_in_one_window_and_recall_is_never_empty(config, log):
    windows = windows_or_none(*log, config)
    if windows is not None:
        assert windows.dtype == np.int8
        assert windows.shape == log[0].shape
        assert set(windows.tolist()) <= {RECALL, RANK, VALID, TEST}
        assert RECALL in windows


@pytest.mark.parametrize("config", IN_ORDER, ids=lambda c: c.kind)
@PROPERTY
@given(log=logs())
def test_windows_follow_one_another_in_each_users_order(config, log):
    windows = windows_or_none(*log, config)
    if windows is not None:
        for user in np.unique(log[0]):
            assert (np.diff(windows[log[0] == user]) >= 0).all()


@PROPERTY
@given(log=logs())
def test_global_time_is_causal_and_no_two_windows_share_a_moment(log):
    user, time = log
    windows = windows_or_none(user, time, SPLITS[0])
    if windows is not None:
        for window in (RANK, VALID, TEST):
            if (windows == window).any() and (windows < window).any():
                assert time[windows < window].max() < time[windows == window].min()


@PROPERTY
@given(log=logs(min_size=20), data=st.data())
def test_global_time_does_not_look_at_who_acted(log, data):
    user, time = log
    other = data.draw(hnp.arrays(np.int32, len(user), elements=st.integers(0, 5)))
    first, second = (windows_or_none(u, time, SPLITS[0]) for u in (user, other))
    assert (first is None) == (second is None)
    if first is not None:
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("config", SPLITS[1:3], ids=lambda c: c.kind)
@PROPERTY
@given(log=logs(), data=st.data())
def test_a_users_windows_depend_on_that_users_events_alone(config, log, data):
    user, time = log
    others = data.draw(hnp.arrays(np.int32, len(user), elements=st.integers(1, 5)))
    changed = np.where(user == 0, 0, others)
    first, second = (windows_or_none(u, time, config) for u in (user, changed))
    if first is not None and second is not None:
        np.testing.assert_array_equal(first[user == 0], second[user == 0])


@PROPERTY
@given(log=logs(min_size=20), data=st.data())
def test_changing_times_after_the_first_cut_moves_no_earlier_event(log, data):
    user, time = log
    windows = windows_or_none(user, time, SPLITS[0])
    if windows is None or not (windows == TEST).any():
        return
    start = int(np.argmax(windows == TEST))
    later = time.copy()
    # The number of events and the order of the cut stand; what happens after the cut moves on.
    later[start + 1 :] += data.draw(st.integers(1, 100))
    changed = windows_or_none(user, later, SPLITS[0])
    assert changed is not None
    np.testing.assert_array_equal(changed[:start][windows[:start] < VALID], windows[:start][windows[:start] < VALID])


@PROPERTY
@given(log=logs())
def test_random_gives_an_event_the_same_window_whatever_follows(log):
    user, _ = log
    config = RandomSplit(kind="random", rank=0.1, valid=0.1, test=0.2)
    longer = np.concatenate([user, user])
    first, second = windows_or_none(user, None, config), windows_or_none(longer, None, config)
    if first is not None and second is not None:
        np.testing.assert_array_equal(second[: len(user)], first)


def by_hand(n, rank, valid, test):
    """Whole per cents, in integers."""
    counts = [n * share // 100 for share in (rank, valid, test)]
    return [RECALL] * (n - sum(counts)) + [RANK] * counts[0] + [VALID] * counts[1] + [TEST] * counts[2]


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 19, 20, 30, 99, 100, 1000])
@pytest.mark.parametrize("shares", [(10, 10, 10), (20, 5, 29), (0, 10, 10), (1, 7, 57), (0, 0, 0)])
def test_per_user_rounds_down_without_float_error(n, shares):
    rank, valid, test = shares
    config = PerUserSplit(kind="per_user", rank=rank / 100, valid=valid / 100, test=test / 100)
    assert assign_windows(np.zeros(n, int), None, config, rng()).tolist() == by_hand(n, *shares)


def test_per_user_counts_interleaved_users_by_themselves():
    user = np.tile([4, 9], 10)
    windows = assign_windows(user, None, PerUserSplit(kind="per_user"), rng())
    for code in (4, 9):
        assert windows[user == code].tolist() == by_hand(10, 10, 10, 10)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [RECALL]),
        (2, [RECALL, RECALL]),
        (3, [RECALL, VALID, TEST]),
        (4, [RECALL, RANK, VALID, TEST]),
        (6, [RECALL, RECALL, RECALL, RANK, VALID, TEST]),
    ],
)
def test_leave_last_out_keeps_one_event_for_recall(n, expected):
    config = LeaveLastOutSplit(kind="leave_last_out")
    assert assign_windows(np.zeros(n, int), None, config, rng()).tolist() == expected


def test_global_time_gives_ties_to_the_later_window():
    time = np.array([0, 1, 2, 3, 4, 5, 6, 8, 8, 8])
    # Cuts by share stand before events 7, 8 and 9; all of those happened at moment 8.
    windows = assign_windows(np.zeros(10, int), time, GlobalTimeSplit(kind="global_time"), rng())
    assert windows.tolist() == [RECALL] * 7 + [TEST] * 3


def test_global_time_without_ties_holds_the_shares():
    config = GlobalTimeSplit(kind="global_time", rank=0.2, valid=0.1, test=0.3)
    windows = assign_windows(np.zeros(10, int), np.arange(10), config, rng())
    assert windows.tolist() == [RECALL] * 4 + [RANK] * 2 + [VALID] + [TEST] * 3
    np.testing.assert_array_equal(assign_windows(np.zeros(10, int), None, config, rng()), windows)


def test_global_time_where_nothing_comes_before_the_cut_says_so():
    with pytest.raises(DataError, match=r"split\.global_time: found 10 events and none of them before the first cut"):
        assign_windows(np.zeros(10, int), np.array([0] * 9 + [1]), GlobalTimeSplit(kind="global_time"), rng())
    with pytest.raises(DataError, match=r"all 10 events have the same data\.interactions\.timestamp: there is no"):
        assign_windows(np.zeros(10, int), np.zeros(10, int), GlobalTimeSplit(kind="global_time"), rng())


def test_global_time_refuses_times_out_of_order():
    with pytest.raises(ProtocolError, match=r"not in time order.*set data\.order: timestamp"):
        assign_windows(np.zeros(3, int), np.array([1, 3, 2]), GlobalTimeSplit(kind="global_time"), rng())


@pytest.mark.parametrize("config", SPLITS, ids=lambda c: c.kind)
def test_an_empty_log_has_no_windows(config):
    assert assign_windows(np.array([], int), np.array([], int), config, rng()).tolist() == []


def test_random_holds_its_shares_and_its_seed():
    config = RandomSplit(kind="random", rank=0.05, valid=0.15, test=0.3)
    n = 40_000
    windows = assign_windows(np.zeros(n, int), None, config, rng())
    for window, share in zip((RECALL, RANK, VALID, TEST), (0.5, 0.05, 0.15, 0.3), strict=True):
        # Four standard deviations of a binomial share.
        assert abs((windows == window).mean() - share) < 4 * (share * (1 - share) / n) ** 0.5
    np.testing.assert_array_equal(assign_windows(np.zeros(n, int), None, config, rng()), windows)


@pytest.mark.parametrize("config", SPLITS, ids=lambda c: c.kind)
def test_histories_hold_training_events_alone_under_random(config):
    windows = np.array([RECALL, RANK, VALID, TEST], np.int8)
    assert visible(windows, config).tolist() == [True, True, config.kind != "random", config.kind != "random"]


def test_only_a_global_cut_is_causal_and_the_report_says_so():
    assert [is_causal(config) for config in SPLITS] == [True, False, False, False]
    assert protocol(SPLITS[0]) == "global time cut (rank 0.1, valid 0.1, test 0.1): causal across users"
    assert "per-user, not causal across users" in protocol(SPLITS[1])
    assert protocol(SPLITS[2]) == "leave last out: per-user, not causal across users"
    assert "histories hold training events only" in protocol(SPLITS[3])


@pytest.mark.parametrize("config", SPLITS, ids=lambda c: c.kind)
def test_without_an_order_only_random_is_permitted(config):
    for order in ("timestamp", "row"):
        check_order(config, order)
    if config.kind == "random":
        check_order(config, "none")
    else:
        with pytest.raises(ProtocolError, match=f"found {config.kind} with data.order: none, expected random"):
            check_order(config, "none")


@pytest.mark.parametrize("kind", ["global_time", "per_user", "random"])
def test_shares_must_leave_recall_something(kind):
    with pytest.raises(ValidationError, match=r"rank \+ valid \+ test is 1; expected less than 1"):
        TypeAdapter(SplitConfig).validate_python({"kind": kind, "rank": 0.5, "valid": 0.25, "test": 0.25})


def test_given_windows_are_taken_as_they_are():
    user, given = np.array([0, 1, 0, 1]), np.array([0, 0, 3, 1], np.int8)
    windows = assign_windows(user, None, GivenSplit(kind="given"), np.random.default_rng(0), given=given)
    assert windows.tolist() == [0, 0, 3, 1]
    assert visible(windows, GivenSplit(kind="given")).all()


def test_a_given_window_before_an_earlier_one_of_the_user_is_refused():
    given = np.array([3, 0, 0], np.int8)
    with pytest.raises(DataError, match="found event 2 in the recall window after a later window of its user"):
        assign_windows(np.array([0, 1, 0]), None, GivenSplit(kind="given"), np.random.default_rng(0), given=given)


def test_given_needs_windows():
    with pytest.raises(DataError, match="found no windows in the log, expected"):
        assign_windows(np.array([0]), None, GivenSplit(kind="given"), np.random.default_rng(0))
