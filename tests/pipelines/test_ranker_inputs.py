"""What a ranker may be fed, in training and by a request: the right answer, or a message before training starts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.run import run_pipeline
from recsys.cli import run_command
from recsys.config import Config
from recsys.errors import InputError
from recsys.funnel.requests import Request
from recsys.funnel.runtime import Funnel
from recsys.settings import load_settings

USERS, ITEMS, STEPS, LENGTH = 10, 12, 20, 5
IDS = [f"i{item}" for item in range(ITEMS)]
TOWNS = ["Köln", "東京"]
PRICES = ["nan", "inf", "-inf", "1e30", "-1e300", ""]
"""Of the first items, in their order."""
CONFIG = """\
name: fed
workspace: workspace
data:
  interactions: {path: events.csv, labels: [click, buy], request_id: list, context: {device: categorical}}
  positive: {label: click, at_least: 1}
  users: {path: users.csv, columns: {town: categorical, age: numeric}}
  items: {path: items.csv, columns: {tags: {kind: multi_categorical, separator: "|"}, price: numeric}}
split: {kind: per_user, rank: 0.2, valid: 0.2, test: 0.2}
features:
  user: {town: {kind: categorical}, age: {kind: standard}}
  context: {device: {kind: categorical}}
  item: {item_id: {kind: categorical}, tags: {kind: multi_categorical}, price: {kind: standard}}
  history: {length: 5, fields: [item_id, tags]}
policy: {exclude_seen: never}
routes: {popular: {kind: popular}}
fusion: {per_route: 12, candidates: 12}
ranking:
  model: {kind: lr}
  samples: {kind: events}
  training: {epochs: 2, batch_size: 16, threads: 1}
evaluation: {ks: [5], bootstrap: 50}
tracking: {kind: none}
"""
DIN = "ranking.model={kind: din, embedding_dim: 4, hidden: [8], attention_hidden: [4], norm: batch}"
CANDIDATES = "ranking.samples={kind: candidates, candidate_negatives: 4}"
TREES = "ranking.model={kind: gbdt, trees: 3, min_leaf: 1, patience: 1}"
RECALL, RANK, VALID = range(8), range(8, 12), range(12, 16)
"""Steps of a user in each window."""


def liked(user, step, item):
    return int((user + item) % 2 == 0)


def write(path, header, rows):
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def write_tables(click=liked, buy=liked, lists=lambda user, step: f"{user}-{step // 4}", fan=0):
    """A log of lists of four items; the fan has so many events."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for step in range(fan if fan and user == 0 else STEPS):
            item = int(rng.integers(ITEMS))
            device = ["web", "app"][step % 2]
            labels = click(user, step, item), buy(user, step, item)
            rows.append([f"u{user}", f"i{item}", 1000 + step, *labels, lists(user, step), device])
    write("events.csv", ["user_id", "item_id", "timestamp", "click", "buy", "list", "device"], rows)
    ages = ["nan", "1e30", *range(20, 20 + USERS - 2)]
    write("users.csv", ["user_id", "town", "age"], [[f"u{u}", TOWNS[u % 2], ages[u]] for u in range(USERS)])
    prices = [*PRICES, *range(ITEMS - len(PRICES))]
    items = [[f"i{item}", ["a|b", "c", ""][item % 3], prices[item]] for item in range(ITEMS)]
    write("items.csv", ["item_id", "tags", "price"], items)
    Path("fed.yaml").write_text(CONFIG, encoding="utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run with numbers that are none, a history of ten thousand items, and batches of one with batch statistics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fed"))
        write_tables(fan=10_000)
        changes = (DIN, CANDIDATES, "ranking.training.batch_size=1", "ranking.training.optimiser.learning_rate=0.05")
        config = load_settings(Config, "fed.yaml", overrides=changes)
        return {name: (made.folder.resolve(), made.metrics) for name, made in run_pipeline(config).artifacts.items()}


@pytest.fixture(scope="module")
def ask(ran):
    """Ids and scores of the answer to a request."""
    funnel = Funnel.load(ran["bundle"][0] / "bundles" / "1")

    def ask(**request):
        items = funnel.recommend([Request(**request)], ITEMS)[0].items
        assert len(items) == ITEMS
        assert all(np.isfinite(item.score) for item in items)
        return [(item.item_id, item.score) for item in items]

    return ask


def test_numbers_that_are_none_and_a_batch_of_one_train_a_ranker(ran):
    folder, _ = ran["evaluate"]
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert np.isfinite(list(metrics.values())).all()
    assert ran["candidates"][1]["train/requests"] > 5
    item = {path.name: np.load(path) for path in (ran["features"][0] / "item").glob("*.npy")}
    assert all(np.isfinite(values).all() for values in item.values())


def test_what_a_request_leaves_out_is_unknown(ask):
    nothing = ask()
    assert ask(features={"town": None, "age": None}, context={"device": None}, history=[]) == nothing
    assert ask(user_id="nobody") == nothing
    known = ask(user_id="u3")
    assert known != nothing
    assert ask(user_id="u3", context={"device": None}) == known
    # The stored columns stand until a request replaces them, one by one.
    assert ask(user_id="u3", features={"town": TOWNS[1], "age": 21}) == known


@pytest.mark.parametrize(("side", "column", "seen"), [("features", "town", "Köln"), ("context", "device", "web")])
def test_a_category_never_seen_is_unknown(ask, side, column, seen):
    unknown = ask(user_id="u3", **{side: {column: None}})
    for value in ("Atlantis", "", "köln", 7):
        assert ask(user_id="u3", **{side: {column: value}}) == unknown
    assert ask(user_id="u3", **{side: {column: seen}}) != unknown


def test_a_number_that_is_none_is_unknown_and_a_huge_one_is_clipped(ask):
    unknown = ask(user_id="u3", features={"age": None})
    for value in (float("nan"), float("inf"), float("-inf")):
        assert ask(user_id="u3", features={"age": value}) == unknown
    assert ask(user_id="u3", features={"age": 1e300}) == ask(user_id="u3", features={"age": 1e308}) != unknown


def test_of_ten_thousand_items_the_last_say_what_is_liked(ask):
    long = (IDS * 1000)[:10_000]
    # The last 20 are compared with candidates; of all others only their number counts.
    assert ask(user_id="u3", history=["i0"] * 9980 + long[-20:]) == ask(user_id="u3", history=long)
    assert ask(user_id="u3", history=long[:-LENGTH] + ["i0"] * LENGTH) != ask(user_id="u3", history=long)
    assert ask(history=[]) == ask(history=["never heard of"]) == ask()


def test_ten_thousand_stored_items_are_as_good_as_sent_ones(ran, ask):
    with (ran["ingest"][0].parents[3] / "events.csv").open(encoding="utf-8") as file:
        own = [e["item_id"] for e in csv.DictReader(file) if (e["user_id"], e["click"]) == ("u0", "1")]
    assert len(own) > 4000
    assert ask(user_id="u0") == ask(user_id="u0", history=own) != ask(user_id="u0", history=own[:-LENGTH])


def test_a_column_that_the_bundle_does_not_read_is_refused(ask):
    with pytest.raises(InputError, match=r"^context\.divice: the bundle does not read this column; it reads device$"):
        ask(context={"divice": "web"})
    with pytest.raises(InputError, match=r"^user\.age: found 'old', expected a number, such as 12\.5$"):
        ask(features={"age": "old"})


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command up to the ranker: exit code and what it complained about."""
    monkeypatch.chdir(tmp_path)

    def run(*changes, **tables):
        write_tables(**tables)
        overrides = [argument for change in changes for argument in ("--set", change)]
        code = run_command(["run", "fed.yaml", "--until", "ranking", *overrides])
        return code, capsys.readouterr().err

    return run


def during(steps, value):
    """Labels that are all equal in some steps."""
    return lambda user, step, item: value if step in steps else liked(user, step, item)


TASKS = "ranking.tasks={click: {label: click}, buy: {label: buy}}"
MMOE = "ranking.model={kind: mmoe, embedding_dim: 4, hidden: [4], experts: 2}"
ALIKE = {"click": lambda user, step, item: (user + step // 4) % 2}
REFUSED = {
    "only positives": (
        [],
        {"click": during([*RECALL, *RANK], 1)},
        "ranking: all 120 labelled items to learn from are positives; expected negatives, too: keep rows that were "
        "shown and not chosen, see that data.positive tells them apart, or use ranking.samples.kind: candidates",
    ),
    "no negative is drawn": (
        ["ranking.samples={kind: candidates, candidate_negatives: 0}"],
        {"click": lambda user, step, item: 1},
        "ranking: all 37 labelled items to learn from are positives; expected negatives, too: raise "
        "ranking.samples.candidate_negatives or uniform_negatives, or fusion.candidates",
    ),
    "no positive to learn from": (
        [CANDIDATES],
        {"click": during(RANK, 0)},
        "ranking: found 40 events in the rank window of split.kind: per_user, none of them a positive that its user "
        "has not had before; the ranker needs some; give the window more events, or set ranking: null",
    ),
    "no positive to stop by": (
        [CANDIDATES],
        {"click": during(VALID, 0)},
        "ranking: found 40 events in the valid window of split.kind: per_user, none of them a positive that its user "
        "has not had before; the ranker needs some; give the window more events, or set ranking: null",
    ),
    "groups of one": (
        ["ranking.loss=ranknet"],
        {"lists": lambda user, step: f"{user}-{step}"},
        "ranking: ranknet compares the candidates of a request, but none of the 120 requests has both a positive and "
        "a negative; check data.interactions.request_id and data.positive, or use a loss of single rows: bce, focal, "
        "mse",
    ),
    "groups of one kind": (
        ["ranking.model={kind: lambdamart}"],
        ALIKE,
        "ranking: lambdamart compares the candidates of a request, but none of the 30 requests has both a positive "
        "and a negative; check data.interactions.request_id and data.positive, or use a loss of single rows: bce, "
        "focal, mse",
    ),
    "a task without positives": (
        [MMOE, TASKS],
        {"buy": lambda user, step, item: 0},
        "ranking.tasks.buy: none of the 120 labelled items to learn from is a positive; expected some: check label "
        "and at_least of ranking.tasks.buy, and the windows of the split",
    ),
    "groups without a request": (
        ["data.interactions.request_id=null", "ranking.loss=lambdarank"],
        {},
        "--set ranking.loss: found lambdarank, which compares the candidates of a request, but ranking.samples.kind "
        "is events and data.interactions.request_id is null: every row is a request of its own; name the column, use "
        "samples of kind candidates and a split.rank, or a loss of single rows: bce, focal, mse",
    ),
    "an optimiser of large tables without sparse gradients": (
        ["ranking.training.optimiser.tables=nadam"],
        {},
        "--set ranking.training.optimiser.tables: found 'nadam', expected one of auto, sgd, adagrad, adam, "
        "rowwise_adagrad, rowwise_adam; did you mean adam?",
    ),
    "a history longer than a graph can be": (
        ["ranking.model={kind: dien, history_length: 10000}"],
        {},
        "--set ranking.model: ranking.model.history_length: found 10000, expected at most 100",
    ),
    "a field that no table has": (
        ["data.users.columns={town: categorical, age: numeric, size: numeric}", "features.user.size={kind: standard}"],
        {},
        "users.csv:1: column size: found only user_id, town, age, expected size",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_teaches_nothing_is_refused_before_training_starts(run, case):
    changes, tables, message = REFUSED[case]
    code, err = run(*changes, **tables)
    assert (code, f"Error: {message}\n" in err) == (2, True), err
    assert not list(Path("workspace").glob("artifacts/ranking/*"))


@pytest.fixture
def figures(tmp_path, monkeypatch):
    """What the ranking stage says of itself."""
    monkeypatch.chdir(tmp_path)

    def figures(*changes, **tables):
        write_tables(**tables)
        config = load_settings(Config, "fed.yaml", overrides=changes)
        return run_pipeline(config, until="ranking").artifacts["ranking"].metrics

    return figures


def test_lists_of_one_row_are_enough_for_a_loss_of_single_rows(figures):
    assert figures(TREES, lists=lambda user, step: f"{user}-{step}")["valid/auc"] > 0.6


@pytest.mark.parametrize("value", [0, 1])
def test_without_a_validation_figure_trees_grow_to_the_end(figures, value):
    assert figures(TREES, click=during(VALID, value)) == {"trees": 3}


def test_without_a_validation_figure_a_network_trains_to_the_end(figures):
    assert figures("ranking.training.patience=1", click=during(VALID, 0)) == {"best_epoch": 2, "epochs": 2}


def test_a_task_without_a_figure_leaves_the_others_theirs(figures):
    found = figures(MMOE, TASKS, buy=during(VALID, 0))
    assert np.isfinite(found["valid/auc"])
