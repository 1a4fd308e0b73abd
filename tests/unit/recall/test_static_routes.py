"""Fresh, trending and segment lists, with numbers a reader can check."""

import dataclasses

import numpy as np
import pytest
from pydantic import TypeAdapter

from recsys.errors import DataError
from recsys.features.batch import Field, QueryBatch
from recsys.features.history import Events, Histories
from recsys.recall.base import TrainingData
from recsys.recall.configs import RouteConfig
from recsys.recall.registry import fit_route
from recsys.recall.settings.base import LogFacts
from recsys.recall.settings.static import FreshConfig, SegmentPopularConfig, TrendingConfig

DAY = 86_400_000_000
GROUP = Field("user.group", 4, 1, "user.group")


def training(rows, users=3, items=5, now=100.0):
    """Rows of (user, item, day)."""
    rows = sorted(rows, key=lambda row: row[2])
    user, item = (np.array([row[at] for row in rows], np.int32) for at in (0, 1))
    time = (np.array([row[2] for row in rows]) * DAY).astype(np.int64)
    events = Events(user, item, time, np.ones(len(rows), bool), np.zeros(len(rows), np.int8))
    histories = Histories.build(events, users)
    features = {"user.group": np.array([2, 3, 2])}
    return TrainingData(histories, time[histories.positions], features, {}, (GROUP,), (), items, True, int(now * DAY))


def scores(config, data, group=2):
    asked = QueryBatch(np.array([[-1]], np.int32), np.zeros(1, np.int32), {"user.group": np.array([group])})
    found = fit_route(config, data, None).score(asked, np.arange(5, dtype=np.int32)[None])[0]
    return [round(float(value), 5) if np.isfinite(value) else None for value in found]


def test_fresh_goes_by_the_first_event():
    data = training([(0, 0, 10), (0, 0, 100), (1, 1, 91), (2, 2, 99), (0, 2, 100), (1, 3, 97)])
    assert scores(FreshConfig(kind="fresh", max_age_days=10), data) == [None, 0.1, 0.5, 0.25, None]
    few = FreshConfig(kind="fresh", max_age_days=10, min_events=2)
    assert scores(few, data) == [None, None, 0.5, None, None]


def test_trending_is_the_standardised_excess_over_the_days_before():
    before = [(0, 0, 95.0)] * 6 + [(0, 1, 94.0)] * 3
    now = [(1, 0, 99.5)] * 2 + [(1, 1, 99.6)] * 3 + [(1, 2, 99.7)]
    config = TrendingConfig(kind="trending", days=1, baseline_days=20, smoothing=2)
    expected = [6 * 6 / 9, 6 * 3 / 9, 0.0]
    excess = [(n - e) / (e + 2) ** 0.5 for n, e in zip([2, 3, 1], expected, strict=True)]
    assert scores(config, training(before + now)) == [None, round(excess[1], 5), round(excess[2], 5), None, None]


def test_nothing_before_makes_everything_trend():
    assert scores(TrendingConfig(kind="trending"), training([(0, 4, 99.9)])) == [None] * 4 + [round(1 / 5**0.5, 5)]


def test_a_segment_has_its_own_list_and_some_of_everybodys():
    data = training([(0, 0, 1), (2, 0, 2), (2, 1, 3), (1, 3, 4), (1, 3, 5), (1, 3, 6)])
    config = SegmentPopularConfig(kind="segment_popular", field="group", half_life_days=None, prior=3)
    everybody = np.array([2, 1, 0, 3, 0]) / 6 * 3

    def expected(counts):
        return [round(float(value), 5) or None for value in np.array(counts) + everybody]

    assert scores(config, data, group=2) == expected([2, 1, 0, 0, 0])
    assert scores(config, data, group=3) == expected([0, 0, 0, 3, 0])
    assert scores(config, data, group=1) == scores(config, data, group=77) == expected([2, 1, 0, 3, 0])


def test_a_segment_of_many_values_is_refused():
    data = dataclasses.replace(training([(0, 0, 1)]), user_fields=(dataclasses.replace(GROUP, width=3),))
    with pytest.raises(DataError, match=r"user\.group is not one category a user"):
        fit_route(SegmentPopularConfig(kind="segment_popular", field="group"), data, None)


def test_routes_of_time_refuse_a_log_without():
    facts = LogFacts(True, "data.interactions.timestamp is null", {"user": ["group"]}, {})
    for settings, expected in (
        (
            {"kind": "fresh"},
            ["kind: found fresh, but data.interactions.timestamp is null: no event is older than another"],
        ),
        ({"kind": "segment_popular", "field": "group", "half_life_days": None}, []),
        (
            {"kind": "segment_popular", "field": "gruop", "half_life_days": None},
            ["field: found 'gruop', expected a field of features.user; did you mean group?"],
        ),
    ):
        route = TypeAdapter(RouteConfig).validate_python(settings)
        found = [str(problem) for problem in route.problems(facts)]
        assert [text.partition("; use")[0] for text in found] == expected
