"""What columns are taken for: by name, by values, and never two parts at once."""

import string

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from recsys.init.guess import find, guess_log, guess_table, overlap
from recsys.init.profile import profile, separator_of

ROWS = 200


def look(columns):
    """Profiles of columns given as lists; text as CSV gives it."""
    arrays = {
        name: values
        if isinstance(values, pa.Array)
        else pa.array([None if v is None else str(v) for v in values], pa.large_string())
        for name, values in columns.items()
    }
    return [profile(name, values) for name, values in arrays.items()]


def parts(columns, **options):
    return {guess.column: guess.part for guess in guess_log(look(columns), **options)}


def log(**more):
    """A plain log with columns added: user, item and time are recognised by name."""
    rng = np.random.default_rng(0)
    plain = {
        "user_id": rng.integers(0, 20, ROWS),
        "item_id": rng.integers(0, 30, ROWS),
        "ts": 1_700_000_000 + np.arange(ROWS) * 600,
    }
    return {**plain, **more}


def why(columns, name):
    return next(guess.why for guess in guess_log(look(columns)) if guess.column == name)


@pytest.mark.parametrize(
    ("user", "item", "time"),
    [
        ("userId", "movieId", "timestamp"),
        ("uid", "iid", "t_s_date"),
        ("CustomerID", "StockCode", "InvoiceDate"),
        ("reviewerID", "asin", "unixReviewTime"),
        ("visitorid", "itemid", "event time"),
        ("msno", "song_id", "created_at"),
        ("Kunde", "Artikel-Nr", "Datum"),
    ],
)
def test_common_names(user, item, time):
    columns = log()
    renamed = dict(zip((item, time, user), (columns["item_id"], columns["ts"], columns["user_id"]), strict=True))
    assert parts(renamed) == {user: "user_id", item: "item_id", time: "timestamp"}


def test_ids_win_over_names_of_the_same_thing():
    columns = log(user_name=[f"Ann {n}" for n in range(ROWS)], item_title=["x"] * ROWS)
    found = parts(columns)
    assert (found["user_id"], found["item_id"]) == ("user_id", "item_id")


def test_columns_whose_names_say_nothing():
    columns = log()
    found = parts({"a": columns["user_id"], "b": columns["item_id"], "c": columns["ts"]})
    assert found == {"a": "user_id", "b": "item_id", "c": "timestamp"}


def test_a_table_of_items_is_no_log():
    books = {
        "sku": [f"B {n:03}" for n in range(ROWS)],
        "genres": [("Krimi", "Lyrik", "Sach|Reise", "Kinder|Bilder")[n % 4] for n in range(ROWS)],
        "price": [f"{n % 60}.5" for n in range(ROWS)],
    }
    assert "user_id" not in parts(books).values()
    named = {**books, "customer": [f"c{n % 30}" for n in range(ROWS)]}
    assert parts(named)["customer"] == "user_id", "each item once, but somebody is named"


def test_the_users_table_says_which_column_holds_users():
    columns = {"a": [f"x{n % 9}" for n in range(ROWS)], "b": [f"y{n % 11}" for n in range(ROWS)]}
    known = {"user_id": {"b": 1.0, "a": 0.0}}
    assert parts(columns, known=known) == {"a": "item_id", "b": "user_id"}


def test_what_is_told_is_not_guessed():
    found = parts(log(), given={"user_id": "item_id", "item_id": "user_id"})
    assert (found["item_id"], found["user_id"]) == ("user_id", "item_id")


@pytest.mark.parametrize(("factor", "unit"), [(1, "s"), (1000, "ms"), (1_000_000, "us"), (1_000_000_000, "ns")])
def test_units_of_time(factor, unit):
    guess = find(guess_log(look(log(ts=(1_700_000_000 + np.arange(ROWS)) * factor))), "timestamp")
    assert guess.profile.clock == unit


@pytest.mark.parametrize(
    "form", ["2024-05-{:02d} 10:00", "2024-05-{:02d}T10:00:00Z", "{:02d}.05.2024", "202405{:02d}", "{:02d} May 2024"]
)
def test_dates_as_text(form):
    guess = find(guess_log(look(log(ts=[form.format(1 + n % 28) for n in range(ROWS)]))), "timestamp")
    assert guess is not None
    assert guess.profile.clock == "text"


def test_dates_that_are_one_day_or_another_are_left_out():
    columns = log(ts=[f"0{1 + n % 9}/0{1 + n % 7}/2024" for n in range(ROWS)])
    assert parts(columns)["ts"] == "left out"
    assert "which is one day or another" in why(columns, "ts")


def test_a_time_that_is_mostly_none_is_left_out_and_said():
    columns = log(ts=["soon" if n % 3 else 1_700_000_000 + n for n in range(ROWS)])
    assert "named like a time, but 66.5% of the rows hold none, such as 'soon'; write dates" in why(columns, "ts")
    columns = log(ts=[None if n % 3 else 1_700_000_000 + n for n in range(ROWS)])
    assert "named like a time, but 66.5% of the rows have none; every event needs one" in why(columns, "ts")
    columns = log(ts=[n / 7 for n in range(ROWS)])
    assert "are no moments of our time; write dates with the year first" in why(columns, "ts")


def lists(size=5):
    """Columns of an impression log: lists of one user at one moment."""
    number = np.arange(ROWS) // size
    return log(
        user_id=number % 17,
        ts=1_700_000_000 + number * 60,
        click=(np.arange(ROWS) * 7 % 5 == 0).astype(int),
        position=np.arange(ROWS) % size,
    ) | {"group": [f"g{n}" for n in number]}


@pytest.mark.parametrize("name", ["request_id", "impression", "group"])
def test_request_groups_by_name_or_by_structure(name):
    columns = lists()
    columns[name] = columns.pop("group")
    found = parts(columns)
    assert (found[name], found["click"], found["position"]) == ("request_id", "label", "position")


def test_a_session_is_no_request():
    columns = log(user_id=np.arange(ROWS) // 20, session_id=np.arange(ROWS) // 20)
    columns["session_id"] = [f"s{n}" for n in columns["session_id"]]
    assert parts(columns)["session_id"] == "left out"


def test_exposure_and_propensity():
    found = parts(log(shown=["yes", "no"] * (ROWS // 2), propensity=[0.1 + (n % 9) / 10 for n in range(ROWS)]))
    assert (found["shown"], found["propensity"]) == ("exposed", "propensity")


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("nothing", [None] * ROWS, "no row has a value"),
        ("same", ["x"] * ROWS, "every row says the same (x)"),
        ("note", [f"note {n}" for n in range(ROWS)], "different in every row"),
        ("event_type", ["view", "buy"] * (ROWS // 2), "says what happened, which is not known beforehand"),
        ("clicked", ["yes", "no"] * (ROWS // 2), "a label is a number: write 0 and 1, not yes"),
        (
            "stars",
            ["" if n % 9 == 0 else n % 5 for n in range(ROWS)],
            "a label must be a number in every row, and 11.5%",
        ),
        ("mystery", [n * 0.37 for n in range(ROWS)], "known before the event"),
        ("exposed", ["maybe", "sure"] * (ROWS // 2), "a context cannot be called exposed"),
    ],
)
def test_what_is_left_out_and_why(name, values, reason):
    columns = log(**{name: values})
    assert parts(columns)[name] == "left out"
    assert reason in why(columns, name)


def test_what_an_item_settles_belongs_to_the_items():
    columns = log()
    columns["price"] = columns["item_id"] * 1.5
    columns["town"] = [f"t{user % 5}" for user in columns["user_id"]]
    assert "always the same for one item" in why(columns, "price")
    assert "always the same for one user" in why(columns, "town")


def test_context_is_what_is_known_beforehand():
    rng = np.random.default_rng(3)
    columns = log(device=rng.choice(["phone", "desk"], ROWS), mood=rng.choice(["a", "b"], ROWS))
    guesses = {guess.column: guess for guess in guess_log(look(columns))}
    assert (guesses["device"].part, guesses["device"].sure) == ("context", True)
    assert (guesses["mood"].part, guesses["mood"].sure) == ("context", False)


def test_a_table_of_users_is_no_log():
    columns = {"user_id": range(ROWS), "age": [18 + n % 50 for n in range(ROWS)], "sex": list("mf") * (ROWS // 2)}
    assert "item_id" not in parts(columns).values()


def test_columns_of_an_items_table():
    count = 60
    columns = {
        "sku": [f"s{n}" for n in range(count)],
        "name": [f"Thing {n}" for n in range(count)],
        "tags": ["a|b", "c", "b"] * (count // 3),
        "colour": ["red", "blue"] * (count // 2),
        "price": [n * n / 7 for n in range(count)],
        "category_id": [n % 4 for n in range(count)],
        "row": range(count),
        "blurb": [f"{'long words ' * 9}{n % 50}" for n in range(count)],
        "since": ["2024-01-02", "2023-04-05"] * (count // 2),
    }
    profiles = look(columns)
    ids = pa.array([f"s{n}" for n in range(0, count, 2)], pa.large_string())
    guesses = guess_table(profiles, "item_id", {p.name: overlap(ids, p.values) for p in profiles})
    found = {guess.column: (guess.part, guess.kind) for guess in guesses}
    assert found == {
        "sku": ("item_id", None),
        "name": ("title", None),
        "tags": ("feature", "multi_categorical"),
        "colour": ("feature", "categorical"),
        "price": ("feature", "numeric"),
        "category_id": ("feature", "categorical"),
        "row": ("left out", None),
        "blurb": ("left out", None),
        "since": ("feature", "timestamp"),
    }


def test_separators():
    def of(*cells):
        return separator_of(pa.array(cells, pa.large_string()))

    assert of("a|b", "b|c", "a", "c") == ("|", 3)
    assert of("a;b", "b;c", "a", "c") == (";", 3)
    assert of("a, b", "b, c", "a", "c") == (",", 3)
    assert of("Alien (1979)", "Shining, The", "Thing, The") is None
    assert of() is None


CELLS = st.one_of(
    st.none(),
    st.integers(-5, 12).map(str),
    st.sampled_from(
        ["", "0", "1", "NA", "nan", "inf", "-1e400", "1e18", "2024-01-01", "01/02/2024", "a|b", "🙂", "x\0y", "True"]
    ),
    st.text(max_size=6),
    st.integers(1_600_000_000, 1_700_000_000).map(str),
)
NAMES = st.one_of(
    st.sampled_from(
        ["user_id", "item", "ts", "click", "rating", "request_id", "position", "exposed", "device", "row", "type"]
    ),
    st.text(string.ascii_letters + " _é", max_size=8),
)


@st.composite
def tables(draw):
    """Small tables of anything, some columns in the types of Parquet."""
    rows = draw(st.integers(1, 12))
    names = draw(st.lists(NAMES, max_size=6, unique=True))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from(["text", "int", "float", "bool", "list", "time", "null"]))
        some = {"text": CELLS, "int": st.integers(-(2**63), 2**63 - 1) | st.none(), "float": st.floats() | st.none()}
        some |= {"bool": st.booleans() | st.none(), "list": st.lists(st.text(max_size=2), max_size=3) | st.none()}
        some |= {"time": st.datetimes() | st.none(), "null": st.none()}
        types = {"text": pa.large_string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
        types |= {"list": pa.list_(pa.string()), "time": pa.timestamp("us"), "null": pa.null()}
        values = draw(st.lists(some[kind], min_size=rows, max_size=rows))
        columns[name] = pa.array(values, types[kind])
    return columns


@settings(max_examples=150, deadline=None)
@given(tables())
def test_any_table_gets_one_guess_a_column(columns):
    profiles = look(columns)
    guesses = guess_log(profiles)
    assert [guess.column for guess in guesses] == list(columns)
    taken = [guess.part for guess in guesses if guess.part not in ("label", "context", "left out")]
    assert len(taken) == len(set(taken))
    for part in ("user_id", "item_id"):
        scores = {p.name: overlap(profiles[0].values, p.values) for p in profiles}
        table = guess_table(profiles, part, scores)
        assert [guess.column for guess in table] == list(columns)
        assert sum(guess.part == part for guess in table) <= 1


def test_how_many_values_the_whole_table_has():
    column = look({"x": ["a", "a", "b", "c"]})[0]
    assert (column.distinct, column.once) == (3, 2)
    assert column.distinct_in(4) == 3
    assert column.distinct_in(400) == 1 + 10 * 2  # √(400 / 4) for each value seen once
