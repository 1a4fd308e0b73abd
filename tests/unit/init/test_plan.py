"""How much of the pipeline a log can feed."""

import numpy as np
import pytest

from recsys.errors import InputError
from recsys.init.objective import Objective
from recsys.init.plan import Facts, make_plan

DAY = 86_400_000_000


def facts(users, steps, *, items=1000, timed=True, positive=None, spread=True, rows=0):
    """Users with `steps` events each, all of new items; side by side in time, or one user after the other."""
    user = np.repeat(np.arange(users), steps)
    step = np.tile(np.arange(steps), users)
    item = (user * 7 + step) % items
    when = step * users + user if spread else user * steps + step
    time = when * (100 * DAY // (users * steps)) if timed else None
    marks = np.ones(len(user), dtype=bool) if positive is None else positive(user, step)
    return Facts(user, item, time, marks, rows or len(user), users, items)


def plan(given, kind="implicit"):
    return make_plan(given, Objective(kind, None, 0.0, 1.0, given.positive, "because"))


def test_a_log_that_goes_on_is_cut_at_moments():
    found = plan(facts(300, 20))
    assert found.split["kind"] == "global_time"
    assert found.order == "timestamp"
    assert set(found.routes) == {"popular", "itemcf", "ease", "dssm"}
    assert found.routes["popular"]["half_life_days"] == 25.0  # a quarter of 100 days
    assert found.fusion == {"weights": "fitted", "per_route": 200, "candidates": 200}
    assert found.ranking["samples"]["kind"] == "candidates"
    assert found.evaluation == {"ks": [5, 10, 20, 50, 100]}


def test_users_who_come_once_are_cut_each_by_themselves():
    # One after the other: in the last tenth of the time nobody was there before.
    found = plan(facts(300, 20, spread=False))
    assert found.split["kind"] == "per_user"
    assert "0% of them known before" in found.why["split"]


def test_a_part_of_a_large_log_stands_for_the_whole():
    part = facts(4000, 2, rows=8000 * 40)
    found = plan(part)
    assert found.split["kind"] == "global_time"
    assert "dssm" in found.routes  # 0.7 · 320,000 − 3 · 4,000 events are enough, though the part itself has none
    assert "dssm" not in plan(facts(4000, 2)).routes


def test_short_histories_leave_the_last_out():
    found = plan(facts(300, 5, spread=False))
    assert found.split == {"kind": "leave_last_out"}


def test_without_time_nothing_that_needs_order():
    found = plan(facts(60, 20, timed=False))
    assert (found.order, found.split["kind"]) == ("none", "random")
    assert found.routes["popular"]["half_life_days"] is None
    assert (found.routes["itemcf"]["distance_decay"], found.routes["itemcf"]["query_decay"]) == (1, 1)
    assert "dssm" not in found.routes


def test_a_small_log_trains_nothing_it_cannot_teach():
    found = plan(facts(10, 10, items=8))
    assert set(found.routes) == {"popular", "itemcf", "ease"}
    assert (found.ranking, found.fusion["weights"], found.split["rank"]) == (None, "equal", 0)
    assert "too few to teach one" in found.why["ranking"]
    assert (found.fusion["candidates"], found.evaluation) == (8, {"ks": [5]})


def test_impressions_teach_by_their_rows():
    found = plan(facts(100, 40, positive=lambda user, step: (user + step) % 4 == 0), "impressions")
    assert found.ranking["samples"] == {"kind": "events"}
    rare = plan(facts(100, 40, positive=lambda user, step: (user < 30) & (step % 10 == 5)), "impressions")
    assert rare.ranking is None
    assert "rows of one class in a window are too few" in rare.why["ranking"]


@pytest.mark.parametrize(("items", "policy"), [(1000, "always"), (12, "never")])
def test_what_is_had_again_may_be_recommended_again(items, policy):
    assert plan(facts(50, 20, items=items)).policy == {"exclude_seen": policy}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (facts(30, 10, items=1), "found one item, expected at least two"),
        (facts(1, 2), "found 2 events of 1 users on 1,000 items, too few to hold any back for a test"),
        (facts(5, 3, timed=False), "too few to hold any back for a test"),
        (facts(5, 5, positive=lambda user, step: user < 0), "expected positives"),
    ],
)
def test_logs_that_feed_nothing(given, words):
    with pytest.raises(InputError) as caught:
        plan(given)
    assert words in str(caught.value)
