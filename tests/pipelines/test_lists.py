"""A ranker that learns from lists as they were shown."""

import csv
import json

import numpy as np
import pytest

from pipelines.candidates import GroupedRequests
from pipelines.run import run_pipeline
from recsys.config import Config
from recsys.errors import DataError
from recsys.settings import load_settings

USERS, ITEMS, LISTS, SHOWN = 12, 10, 10, 4
CONFIG = """\
name: shown
workspace: workspace
data:
  interactions: {path: events.csv, labels: [click], request_id: list, exposed: shown}
  positive: {label: click, at_least: 1}
split: {kind: per_user, rank: 0.2, valid: 0.2, test: 0.2}
policy: {exclude_seen: never}
routes: {popular: {kind: popular}}
ranking:
  model: {kind: fm, embedding_dim: 4}
  samples: {kind: events}
  loss: lambdarank
  training: {epochs: 2, batch_size: 16, threads: 1}
evaluation: {ks: [5, 10], bootstrap: 50}
fusion: {per_route: 10, candidates: 10}
tracking: {kind: none}
"""


def rows():
    """Ten lists of four a user, the last of each not shown; the second list of a user has no id."""
    rng = np.random.default_rng(0)
    for user in range(USERS):
        for number in range(LISTS):
            for place, item in enumerate(rng.permutation(ITEMS)[:SHOWN]):
                shown = int(place < SHOWN - 1)
                click = int(shown and item % 2 == 0)
                yield [f"u{user}", f"i{item}", 100 * number + place, click, "" if number == 1 else f"l{number}", shown]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(content, *overrides):
        with (tmp_path / "events.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["user_id", "item_id", "timestamp", "click", "list", "shown"], *content])
        (tmp_path / "shown.yaml").write_text(CONFIG)
        return run_pipeline(load_settings(Config, "shown.yaml", overrides=overrides)).artifacts

    return run


def test_rows_of_a_list_are_one_request_and_what_was_not_shown_teaches_nothing(run):
    artifacts = run(rows())
    train = GroupedRequests.load(artifacts["candidates"].folder / "train")
    # Six of ten lists: recall and rank; the one without an id is three requests.
    assert train.groups.codes.shape == (USERS * (5 + 3), SHOWN - 1)
    sizes = (train.groups.codes >= 0).sum(axis=1)
    assert sorted(sizes.tolist()) == [1] * 3 * USERS + [3] * 5 * USERS
    metrics = json.loads((artifacts["evaluate"].folder / "metrics.json").read_text())
    assert metrics["ranker/auc"] > 0.9


def test_a_list_without_end_is_refused(run):
    content = [[f"u{n % 2}", f"i{n % 9}", n, n % 2, "same", 1] for n in range(9000)]
    expected = "a list of user 'u0' has 2,700 rows, expected at most 2,000; check that data.interactions.request_id"
    with pytest.raises(DataError, match=expected):
        run(content)
