"""Rankers of several tasks, from a log with two labels to a bundle."""

from functools import partial

import numpy as np
import pytest

from recsys.funnel.requests import Request

USERS, ITEMS, STEPS = 40, 24, 24
CONFIG = """\
name: shop
workspace: workspace
data:
  interactions: {path: events.csv, labels: [click, buy]}
  positive: {label: click, at_least: 1}
  users: {path: users.csv, columns: {town: categorical}}
split: {kind: per_user, rank: 0.2, valid: 0.2, test: 0.2}
policy: {exclude_seen: never}
routes:
  popular: {kind: popular}
  itemcf: {kind: itemcf}
fusion: {per_route: 20, candidates: 20}
ranking:
  model: {kind: mmoe, embedding_dim: 4, hidden: [8], experts: 2, tower_hidden: [8], activation: gelu}
  samples: {candidate_negatives: 10}
  training: {epochs: 6, batch_size: 16, threads: 1, optimiser: {learning_rate: 0.02}}
  tasks:
    click: {label: click}
    buy: {label: buy, weight: 2, loss: focal, score: 2}
evaluation: {ks: [5, 10], bootstrap: 50}
tracking: {kind: none}
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory, write_csv):
    """Towns click on their half of the items, and buy what is even there."""
    folder, rng = tmp_path_factory.mktemp("tasks"), np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for step in range(STEPS):
            item = int(rng.integers(ITEMS))
            click = int(rng.random() < (0.8 if item % 2 == user % 2 else 0.1))
            rows.append([f"u{user}", f"i{item}", 1000 + step, click, click * int(item % 4 < 2)])
    write_csv(folder / "events.csv", ["user_id", "item_id", "timestamp", "click", "buy"], rows)
    write_csv(
        folder / "users.csv", ["user_id", "town"], [[f"u{user}", ["Köln", "東京"][user % 2]] for user in range(USERS)]
    )
    (folder / "shop.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


@pytest.fixture
def ran(log, run_to_bundle):
    return partial(run_to_bundle, log / "shop.yaml")


def test_the_answer_is_ordered_by_the_product_of_the_probabilities(ran):
    metrics, funnel = ran()
    assert metrics["task/click/auc"] > 0.6
    assert metrics["task/buy/auc"] > 0.6
    queries = funnel.query_batch(np.arange(5))
    lists = funnel.rank(queries, 10)
    logits = funnel.task_logits(queries, lists.codes).astype(np.float64)
    click, buy = (1 / (1 + np.exp(-logits[..., task])) for task in range(2))
    np.testing.assert_allclose(np.exp(lists.scores), click * buy**2, rtol=1e-4)
    assert (np.diff(lists.scores, axis=1) <= 0).all()
    assert len(funnel.recommend([Request(user_id="u1")], k=5)[0].items) == 5


@pytest.mark.parametrize("balance", ["uncertainty", "gradnorm"])
def test_tasks_of_labelled_rows_learn_from_rows(ran, balance):
    rows = ("ranking.samples.kind=events", f"ranking.balance={balance}", "ranking.training.epochs=20")
    metrics, _ = ran(*rows, "ranking.tasks.buy.score=0")
    assert metrics["task/click/auc"] > 0.75
    assert metrics["task/buy/auc"] > 0.75
    # With one power left, the answer is that task's logit: its figures are the ranker's.
    assert metrics["ranker/auc"] == pytest.approx(metrics["task/click/auc"], abs=1e-9)


def test_every_task_has_a_probability_of_its_own(ran):
    metrics, funnel = ran("ranking.samples.kind=events", "ranking.calibration=isotonic", "ranking.training.epochs=20")
    # Focal loss tells no probabilities: the task it teaches had those of the calibration alone.
    before, _ = ran("ranking.samples.kind=events", "ranking.training.epochs=20")
    assert metrics["task/buy/auc"] == before["task/buy/auc"]
    assert metrics["task/buy/logloss"] < before["task/buy/logloss"]
    assert metrics["task/buy/calibration_error"] < before["task/buy/calibration_error"]
    for item in funnel.recommend([Request(user_id="u1")], k=5)[0].items:
        assert set(item.probability) == {"click", "buy"}
        assert 0 < item.probability["buy"] < 1


def test_click_then_conversion_is_served_by_both(ran):
    metrics, funnel = ran(
        "ranking.model={kind: esmm, embedding_dim: 4, hidden: [8]}", "ranking.tasks.click.score=0", "refit=all"
    )
    assert metrics["task/buy/auc"] > 0.6
    queries = funnel.query_batch(np.arange(5))
    lists = funnel.rank(queries, 10)
    logits = funnel.task_logits(queries, lists.codes)
    np.testing.assert_allclose(lists.scores, logits[..., 1], rtol=1e-5)
    assert (logits[..., 1] <= logits[..., 0]).all()


def test_a_teacher_of_the_same_tasks_teaches_and_is_not_served(ran):
    teacher = "ranking.teacher={model: {kind: shared_bottom, embedding_dim: 8, hidden: [16], activation: gelu}}"
    metrics, funnel = ran(teacher, "refit=all", "ranking.training.epochs=12")
    assert metrics["task/click/auc"] > 0.6
    assert metrics["task/buy/auc"] > 0.6
    assert "route.teacher" not in {field.name for field in funnel.parts.ranker.spec.fields}
