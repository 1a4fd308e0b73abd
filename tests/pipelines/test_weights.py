"""Samples that count more than others."""

import csv

import numpy as np
import pytest

from pipelines.candidates import GroupedRequests
from pipelines.run import run_pipeline
from recsys.config import Config
from recsys.errors import DataError
from recsys.settings import load_settings

DAY = 24 * 3600
CONFIG = """\
name: watched
workspace: workspace
data:
  interactions: {path: events.csv, labels: [click, minutes], propensity: seen, timestamp_unit: s}
  positive: {label: click, at_least: 1}
split: {kind: per_user, rank: 0.2, valid: 0.2, test: 0.2}
policy: {exclude_seen: never}
routes: {popular: {kind: popular}}
ranking:
  model: {kind: lr}
  samples: {kind: events, weights: {value: minutes, half_life_days: 2, propensity: true, least_propensity: 0.2}}
  training: {epochs: 1, batch_size: 16, threads: 1}
evaluation: {ks: [5], bootstrap: 50}
fusion: {per_route: 10, candidates: 10}
tracking: {kind: none}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(minutes, *overrides, items=10, until="ranking"):
        rows = []
        for user in range(8):
            for step in range(10):
                seen = ["0.5", "0.1", ""][(step + 1) % 3]
                rows.append([f"u{user}", f"i{step % items}", step * DAY, int(step % 4 > 0), minutes(step), seen])
        with (tmp_path / "events.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["user_id", "item_id", "timestamp", "click", "minutes", "seen"], *rows])
        (tmp_path / "watched.yaml").write_text(CONFIG)
        config = load_settings(Config, "watched.yaml", overrides=overrides)
        return GroupedRequests.load(run_pipeline(config, until=until).artifacts["candidates"].folder / "train")

    return run


def test_rows_count_by_age_value_and_propensity(run):
    train = run(lambda step: step)
    step = np.array([[int(step)] for step in train.groups.codes[:, 0]])
    positive = train.groups.labels > 0
    # The newest event that may teach is of day 7.
    age = 7 - step
    value = step / step[positive].mean()
    inverse = np.choose((step + 1) % 3, [2.0, 5.0, 1.0])
    expected = 0.5 ** (age / 2) * np.where(positive, value * inverse, 1)
    np.testing.assert_allclose(train.weight, expected, rtol=1e-5)


@pytest.mark.parametrize("refit", ["recall", "all"])
def test_candidates_take_the_weight_of_their_event(run, refit):
    train = run(lambda step: step, "ranking.samples.kind=candidates", f"refit={refit}", items=4, until=None)
    # The one positive of every user's request is of day 5: two days old, in a place looked at half the time.
    expected = np.where(train.groups.labels > 0, 0.5 * 2, 0.5)
    np.testing.assert_allclose(train.weight, expected, rtol=1e-6)
    assert (train.groups.labels.sum(axis=1) == 1).all()


def test_a_value_below_zero_is_refused(run):
    with pytest.raises(DataError, match="label minutes of a positive is -3, expected no positive to be below 0"):
        run(lambda step: -3)
