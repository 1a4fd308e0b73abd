"""Which columns of a log say something of its items and users, and which only seem to."""

import numpy as np
import pyarrow as pa
import pytest

from recsys.init.guess import guess_log
from recsys.init.profile import profile
from recsys.init.rows import guess_rows, has_no_ids
from recsys.init.wide import move_attributes

ROWS = 600
SIDES = ("user_id", "item_id")


def look(columns):
    texts = {name: [None if v is None else str(v) for v in values] for name, values in columns.items()}
    return [profile(name, pa.array(values, pa.large_string())) for name, values in texts.items()]


def log(**more):
    rng = np.random.default_rng(0)
    plain = {
        "user_id": rng.integers(0, 40, ROWS),
        "item_id": rng.integers(0, 60, ROWS),
        "ts": 1_700_000_000 + np.arange(ROWS) * 600,
    }
    made = {name: [make(u, i, n, rng) for n, (u, i) in enumerate(zip(plain["user_id"], plain["item_id"], strict=True))]
            for name, make in more.items()}  # fmt: skip
    return {**plain, **made}


def moved(columns, sides=SIDES):
    kept, found = move_attributes(guess_log(look(columns)), sides)
    sides_of = {guess.column: side for side, part in found.items() for guess in part.guesses}
    return sides_of | {guess.column: guess.part for guess in kept if guess.column not in columns or guess.part}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda u, i, n, rng: f"genre {i % 5}", "item_id"),
        (lambda u, i, n, rng: 10 + i / 4, "item_id"),
        (lambda u, i, n, rng: 18 + 7 * u % 23, "user_id"),
        (lambda u, i, n, rng: f"genre {i % 5}" if n % 200 else "typo", "item_id"),
        (lambda u, i, n, rng: f"genre {i % 5}" if n % 20 else "typo", "context"),
        (lambda u, i, n, rng: f"place {rng.integers(4)}", "context"),
        (lambda u, i, n, rng: "x" if n % 300 else "y", "context"),
        (lambda u, i, n, rng: f"paid {i % 5}" if n % 2 else None, "context"),
    ],
    ids=[
        "category",
        "number",
        "user",
        "half a percent typos",
        "five percent",
        "random",
        "nearly constant",
        "half empty",
    ],
)
def test_what_settles_a_column(make, expected):
    assert moved(log(thing=make))["thing"] == expected


def test_a_table_that_is_there_is_not_made_twice():
    columns = log(genre=lambda u, i, n, rng: f"g{i % 5}", city=lambda u, i, n, rng: f"c{u % 7}")
    assert moved(columns, ("user_id",))["city"] == "user_id"
    assert moved(columns, ("user_id",))["genre"] in ("left out", "context")


def test_what_both_settle_is_of_neither():
    rng = np.random.default_rng(2)
    user = rng.integers(0, 40, ROWS)
    item = 40 * rng.integers(0, 2, ROWS) + 2 * rng.integers(0, 20, ROWS) + user % 2
    columns = {"user_id": user, "item_id": item, "ts": np.arange(ROWS) + 1_700_000_000, "land": user % 2 + 10}
    assert moved({**columns, "land": [f"land {n}" for n in columns["land"]]})["land"] not in SIDES


def test_outcomes_are_no_attributes():
    columns = log(avg_rating=lambda u, i, n, rng: 1 + (i % 9) / 2, title=lambda u, i, n, rng: f"T{i}")
    kept, found = move_attributes(guess_log(look(columns)), SIDES)
    assert [guess.column for guess in found["item_id"].guesses] == ["title"]
    why = next(guess.why for guess in kept if guess.column == "avg_rating")
    assert "named like an outcome: it may count what happened later" in why


def test_values_without_enough_rows_settle_nothing():
    columns = {name: values[:20] for name, values in log(g=lambda u, i, n, rng: f"g{i % 5}").items()}
    assert moved(columns)["g"] not in SIDES


CLICKS = {
    "label": [n % 3 == 0 for n in range(ROWS)],
    "I1": [n % 50 for n in range(ROWS)],
    "C1": [f"{n % 40:08x}" for n in range(ROWS)],
    "101": [5000 + n % 40 for n in range(ROWS)],
    "102": [n % 7 for n in range(ROWS)],
    "price": [n / 7 for n in range(ROWS)],
}


def clicks(**more):
    return look({**CLICKS, "label": [int(value) for value in CLICKS["label"]], **more})


def test_a_click_log_without_ids():
    assert has_no_ids(clicks())
    assert {guess.column: guess.kind or guess.part for guess in guess_rows(clicks())} == {
        "label": "label",
        "I1": "numeric",
        "C1": "categorical",
        "101": "categorical",
        "102": "categorical",
        "price": "numeric",
    }


def test_an_anonymised_log_may_name_an_app():
    names = [f"C{n}" for n in range(14, 19)]
    assert has_no_ids(
        clicks(app_id=[f"a{n % 9}" for n in range(ROWS)], **{name: [n % 9 for n in range(ROWS)] for name in names})
    )


@pytest.mark.parametrize("name", ["user_id", "item", "sku", "session_id", "uid"])
def test_a_log_with_any_id_is_no_click_log(name):
    assert not has_no_ids(clicks(**{name: [n % 9 for n in range(ROWS)]}))


def test_few_columns_may_be_ids():
    assert not has_no_ids(clicks()[:4])
    assert not has_no_ids([column for column in clicks() if column.name != "label"] + clicks()[1:3])


def offset(name, values, day="2024-05-{:02d}"):
    columns = log(rest=lambda u, i, n, rng: values(n))
    columns["ts"] = [day.format(1 + n % 28) for n in range(ROWS)]
    columns[name] = columns.pop("rest")
    found = next(guess for guess in guess_log(look(columns)) if guess.column == name)
    return found.unit if found.part == "timestamp_offset" else None


@pytest.mark.parametrize(
    ("name", "values", "unit"),
    [
        ("timeframe", lambda n: 37 * n, "ms"),
        ("time", lambda n: 86_399 - 137 * n, "s"),
        ("time_ms", lambda n: 1009 * n, "ms"),
        ("Uhrzeit", lambda n: f"{n % 24:02d}:{n % 60:02d}", "clock"),
        ("time", lambda n: 100 * (n % 24) + n % 60, None),
        ("time", lambda n: 10_000 * (n % 24) + 100 * (n % 60) + n % 60, None),
        ("watch_time", lambda n: 37 * n, None),
        ("delivery_time", lambda n: 37 * n, None),
        ("price", lambda n: 37 * n, None),
        ("time", lambda n: n - 300, None),
    ],
)
def test_a_time_within_the_day(name, values, unit):
    assert offset(name, values) == unit


def test_a_time_that_is_whole_needs_no_other():
    assert offset("time", lambda n: 86_399 - 137 * n, day="2024-05-{:02d} 10:30") is None


@pytest.mark.parametrize(
    ("users", "session", "user"),
    [
        (lambda n: "NA" if n % 30 else "u", "session_id", "session_id"),
        (lambda n: None if n % 30 else "u", "visit_id", "visit_id"),
        (lambda n: f"u{n % 7}", "session_id", "user_id"),
        (lambda n: None if n % 3 == 0 else f"u{n % 7}", "session_id", "user_id"),
    ],
)
def test_the_session_of_users_who_are_mostly_unknown(users, session, user):
    columns = {"user_id": [users(n) for n in range(ROWS)], session: [n // 6 for n in range(ROWS)]}
    rest = {name: values for name, values in log().items() if name != "user_id"}
    guesses = {guess.column: guess for guess in guess_log(look({**columns, **rest}))}
    assert guesses[user].part == "user_id"
    if user != "user_id":
        assert not guesses[user].sure
        assert "of the rows have none" in guesses["user_id"].why
