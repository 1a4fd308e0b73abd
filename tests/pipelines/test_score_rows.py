"""Rows of an ordinary log, scored by its bundle."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys.cli import run_command
from recsys.errors import InputError
from recsys.funnel.runtime import Funnel


@pytest.fixture(scope="module")
def funnel(finished):
    return Funnel.load(finished / "workspace" / "bundles" / "1")


@pytest.fixture(scope="module")
def rows(finished):
    with (finished / "data" / "events.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))[:300]


@pytest.fixture(scope="module")
def expected(funnel, rows):
    """The ranker's score of each item for its user, as the evaluation asks it."""
    users = funnel.parts.users.encode([row["user_id"] for row in rows])
    items = funnel.parts.items.encode([row["item_id"] for row in rows])
    return funnel.score_rows(funnel.query_batch(users), items[:, None])[:, 0]


def test_a_file_is_scored_with_what_the_bundle_knows(finished, rows, expected, tmp_path, capsys):
    out, given = tmp_path / "scores.parquet", tmp_path / "rows.csv"
    with given.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "unread", "user_id"])
        writer.writerows([row["item_id"], "x", row["user_id"]] for row in rows)
        writer.writerow(["nowhere", "x", "u 1"])
    assert run_command(["score-rows", str(finished / "workspace"), "--rows", str(given), "--out", str(out)]) == 0
    found = pq.read_table(out).to_pydict()
    assert list(found) == ["row", "score"]
    np.testing.assert_allclose(found["score"][:-1], expected, atol=1e-5)
    assert found["score"][-1] is None
    assert "1 of 301 rows have no score" in capsys.readouterr().err


def test_raw_rows_are_scored_the_same(funnel, rows, expected):
    predictions = funnel.predict([{name: row[name] for name in ("user_id", "item_id")} for row in rows])
    np.testing.assert_allclose(predictions.scores, expected, atol=1e-5)
    assert predictions.probabilities is None


def test_a_row_without_a_known_user_is_one_of_a_new_user(funnel):
    item = funnel.parts.items.decode(np.array([3]))[0].as_py()
    new, unnamed = funnel.predict([{"user_id": "nobody", "item_id": item}, {"item_id": item}]).scores
    assert np.isfinite(new)
    assert new == pytest.approx(unnamed, abs=1e-5)
    assert np.isneginf(funnel.predict([{"user_id": "u 1"}]).scores[0])


@pytest.mark.parametrize("value", [True, 1.5, ["a"]])
def test_an_id_is_text_or_a_whole_number(funnel, value):
    with pytest.raises(InputError, match=r"rows: item_id: found .*, expected text or a whole number"):
        funnel.predict([{"item_id": value}])
