"""Files as people have them: `init`, then `run` and `recommend` without a touch to what was written."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.cli import run_command
from recsys.config import Config
from recsys.settings import load_settings

START = 1_700_000_000
HOUR = 3600


@pytest.fixture
def recsys(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder: exit code, what it printed, what it complained about."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = run_command(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def walks(users, steps, *, items=24, seed=0):
    """`(user, item, step)`: users walk circles of eight items, one step in five goes astray."""
    rng = np.random.default_rng(seed)
    for user in range(users):
        start, circle = int(rng.integers(8)), 8 * (user % 3)
        for step in range(steps):
            lost = rng.random() < 0.2
            yield user, int(rng.integers(items)) if lost else circle + (start + step) % 8, step


def write(path, header, rows, *, delimiter=",", encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])


def written(path="recsys.yaml"):
    return load_settings(Config, path, environ={})


def lives(recsys, user, *, k=3):
    """What was written runs as it is, and recommends."""
    assert Path("recsys.yaml").read_text(encoding="utf-8").startswith("# Run me: recsys run recsys.yaml\n")
    code, _, err = recsys("run", "recsys.yaml", "--set", "tracking.kind=none", "--set", "evaluation.bootstrap=20")
    assert code == 0, err
    code, out, err = recsys("recommend", "recsys.yaml", "--user", user, "-k", str(k), "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["known_user"] is True
    assert len(answer["items"]) == k
    return [item["item_id"] for item in answer["items"]]


def ingested(recsys, table="interactions"):
    """What was written reads the files: a canonical table."""
    code, _, err = recsys("run", "recsys.yaml", "--set", "tracking.kind=none", "--until", "ingest")
    assert code == 0, err
    return pq.read_table(next(Path().glob(f"workspace/**/ingest/*/{table}.parquet")))


def test_semicolons_and_a_byte_order_mark(recsys, tmp_path):
    rows = [(f"k{u}", f"a{i}", START + s * HOUR + u, "web") for u, i, s in walks(40, 12)]
    write(tmp_path / "log.csv", ["Kunde", "Artikel", "Zeit", "Kanal"], rows, delimiter=";", encoding="utf-8-sig")
    people = [(f"k{u}", 18 + u, ["Köln", "東京"][u % 2], "DE") for u in range(41)]
    write(tmp_path / "kunden.csv", ["Kunde", "Alter", "Ort", "Land"], people, delimiter=";", encoding="utf-8-sig")
    code, out, err = recsys("init", "--interactions", "log.csv", "--users", "kunden.csv")
    assert code == 0, err
    assert "every row says the same (web)" in out
    config = written()
    log = config.data.interactions
    assert (log.user_id, log.item_id, log.timestamp, log.delimiter) == ("Kunde", "Artikel", "Zeit", ";")
    assert set(config.data.users.columns) == {"Ort"}  # ages count on by one, one country
    assert lives(recsys, "k3")


def test_a_folder_of_parquet(recsys, tmp_path):
    (tmp_path / "views").mkdir()
    moments = np.datetime64("2024-05-01T00:00:00", "us")
    rows = list(walks(40, 12))
    for part in range(3):
        mine = [(u, i, s) for u, i, s in rows if u % 3 == part]
        table = pa.table(
            {
                "visitorId": pa.array([u for u, _, _ in mine], pa.int64()),
                "videoId": pa.array([10**15 + i for _, i, _ in mine], pa.int64()),
                "started_at": pa.array([moments + np.timedelta64(s * 60 + u, "m") for u, _, s in mine]),
                "watch_seconds": pa.array([float(5 + (7 * u + 3 * s) % 90) for u, _, s in mine]),
            }
        )
        pq.write_table(table, tmp_path / "views" / f"part-{part}.parquet")
    (tmp_path / "views" / "_SUCCESS").touch()
    films = {"videoId": [10**15 + i for i in range(24)], "tags": [["a", "b"][: i % 3] for i in range(24)]}
    pq.write_table(pa.table(films), tmp_path / "films.parquet")
    code, out, err = recsys("init", "--interactions", "views", "--items", "films.parquet", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["objective"]["kind"] == "amounts"
    assert told["objective"]["positive_share"] == pytest.approx(0.75, abs=0.03)
    roles = {row["column"]: row["role"] for row in told["columns"] if row["table"] == "interactions"}
    assert roles == {"visitorId": "user_id", "videoId": "item_id", "started_at": "timestamp", "watch_seconds": "label"}
    assert written().data.items.columns == {"tags": "multi_categorical"}
    assert all(int(item) >= 10**15 for item in lives(recsys, "3"))


def test_ratings_with_dates_as_text(recsys, tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for user, item, step in walks(70, 14):
        grade = float(np.clip(round(2 * rng.normal(3.4, 0.9)) / 2, 0.5, 5))
        when = datetime.fromtimestamp(START + step * 24 * HOUR + 60 * user, UTC).strftime("%Y-%m-%d %H:%M")
        rows.append((f"reader {user}", f"book {item}", grade, when, f"Title of {item}", "nice" * 20 + str(step + user)))
    write(tmp_path / "ratings.csv", ["reviewerID", "book", "stars", "reviewDate", "book_title", "review"], rows)
    code, _, err = recsys("init", "--interactions", "ratings.csv", "--name", "Книги 1")
    assert code == 0, err
    config = written()
    log = config.data.interactions
    assert (log.user_id, log.item_id, log.timestamp, log.labels) == ("reviewerID", "book", "reviewDate", ("stars",))
    assert config.name == "data-1"
    grades = np.array([row[2] for row in rows])
    shares = {grade: abs((grades >= grade).mean() - 0.5) for grade in np.unique(grades)[1:]}
    assert config.data.positive.at_least == min(shares, key=shares.get)
    assert (config.data.items.source, config.data.items.title) == ("interactions", "book_title")
    assert lives(recsys, "reader 3")


def test_impressions_with_requests_and_clicks(recsys, tmp_path):
    rng = np.random.default_rng(2)
    rows = []
    for number in range(400):
        user, when = int(rng.integers(50)), START + 900 * number
        device = ["phone", "tablet", "desk"][int(rng.integers(3))]
        for place, item in enumerate(rng.permutation(30)[:5].tolist()):
            clicked = int(rng.random() < (0.5 if item % 3 == user % 3 else 0.1))
            rows.append((f"r{number}", user, item, when, place, device, clicked))
    header = ["impression_id", "uid", "ad_id", "ts", "position", "device", "click"]
    write(tmp_path / "shown.tsv", header, rows, delimiter="\t")
    code, out, err = recsys("init", "--interactions", "shown.tsv")
    assert code == 0, err
    config = written()
    log = config.data.interactions
    assert (log.request_id, log.position, log.labels) == ("impression_id", "position", ("click",))
    assert log.context == {"device": "categorical"}
    assert config.data.positive.model_dump() == {"label": "click", "at_least": 1.0}
    assert config.ranking.samples.kind == "events"
    assert config.split.kind == "global_time"
    assert "exposed negatives" in out
    assert lives(recsys, "3")


def test_two_columns_without_time(recsys, tmp_path):
    pairs = sorted({(u, 1000 + i) for u, i, _ in walks(50, 12)}, key=lambda pair: hash(pair))
    write(tmp_path / "pairs.csv", ["uid", "iid"], pairs)
    code, out, err = recsys("init", "--interactions", "pairs.csv")
    assert code == 0, err
    config = written()
    assert (config.data.order, config.data.interactions.timestamp, config.split.kind) == ("none", None, "random")
    assert {route.kind for route in config.routes.values()} == {"popular", "itemcf", "ease"}
    assert "without time nothing comes before anything" in out
    assert lives(recsys, "3")


@pytest.mark.slow
def test_milliseconds_and_ids_of_all_alphabets(recsys, tmp_path):
    rows = [(f"юзер {u} 🙂", f"品 {i} 🎬|x", (START + s * HOUR + u) * 1000) for u, i, s in walks(80, 24)]
    write(tmp_path / "события.txt", ["user", "item", "time"], rows, delimiter="|")
    code, _, err = recsys("init", "--interactions", "события.txt")
    assert code == 0, err
    config = written()
    log = config.data.interactions
    assert (log.format, log.delimiter, log.timestamp_unit) == ("csv", "|", "ms")
    assert "dssm" in config.routes
    assert config.ranking is not None
    assert {item[0] for item in lives(recsys, "юзер 3 🙂")} == {"品"}


GENRES = ["Drama|Crime", "Comedy", "Crime", "Comedy|Drama"]


def wide(users=50, steps=14, *, items=24):
    """A log whose rows repeat what is known of user and item; one title has a typing error in one row."""
    rng = np.random.default_rng(3)
    ages, cities = rng.integers(18, 70, users), rng.integers(10_000, 10_040, users)
    for number, (u, i, s) in enumerate(walks(users, steps, items=items)):
        title = "Film O" if number == 7 else f"Film {i}"
        yield {
            "user": f"u{u}",
            "movie": f"m{i}",
            "time": START + s * HOUR + u,
            "rating": int(rng.integers(1, 6)),
            "gender": "FM"[u % 2],
            "age": int(ages[u]),
            "zip": int(cities[u]),
            "movie_title": title,
            "genres": GENRES[i % 4],
            "device": ["phone", "desk", "tv"][int(rng.integers(3))],
        }


def test_a_wide_log_gives_tables_of_users_and_items(recsys, tmp_path):
    rows = list(wide())
    write(tmp_path / "wide.csv", list(rows[0]), [row.values() for row in rows])
    code, _, err = recsys("init", "--interactions", "wide.csv")
    assert code == 0, err
    config = written()
    assert config.data.interactions.context == {"device": "categorical"}
    assert config.data.users.source == config.data.items.source == "interactions"
    assert set(config.data.users.columns) == {"gender", "age", "zip"}
    assert config.data.items.title == "movie_title"
    assert config.data.items.columns["genres"].model_dump()["separator"] == "|"
    assert set(config.features.item) == {"item_id", "genres"}
    text = Path("recsys.yaml").read_text(encoding="utf-8")
    assert "from: interactions" in text
    assert "rows of one item" in text, "the evidence is said"
    assert "# guessed:" in text
    lives(recsys, "u3")
    table = pq.read_table(next(tmp_path.glob("workspace/**/ingest/*/items.parquet")))
    assert dict(zip(table["item_id"].to_pylist(), table["movie_title"].to_pylist(), strict=True)) == {
        f"m{i}": f"Film {i}" for i in range(24)
    }, "the most frequent value, not the last and not the first"
    log = pq.read_schema(next(tmp_path.glob("workspace/**/ingest/*/interactions.parquet")))
    assert "movie_title" not in log.names


def test_movielens_as_it_is(recsys, tmp_path):
    rng = np.random.default_rng(4)
    rows = [(1 + u, 100 + i, int(rng.integers(1, 6)), START + s * HOUR + u) for u, i, s in walks(50, 12)]
    (tmp_path / "ratings.dat").write_text("".join("::".join(map(str, row)) + "\n" for row in rows))
    films = "".join(f"{100 + i}::Ciné {i} (1995)::{GENRES[i % 4]}\n" for i in range(24))
    (tmp_path / "movies.dat").write_text(films, encoding="latin-1")
    names = ("--item-columns", "movie_id,title,genres")
    code, _, err = recsys("init", "--interactions", "ratings.dat", "--items", "movies.dat", *names)
    assert code == 0, err
    log, items = written().data.interactions, written().data.items
    assert (log.header, log.delimiter) == (("user_id", "item_id", "rating", "timestamp"), "::")
    assert (items.header, items.encoding, items.title) == (("movie_id", "title", "genres"), "cp1252", "title")
    assert ingested(recsys).num_rows == len(set(rows))
    assert "Ciné 3 (1995)" in ingested(recsys, "items")["title"].to_pylist()


def test_sessions_of_users_who_are_mostly_unknown(recsys, tmp_path):
    rows = []
    for session, item, step in walks(90, 8):
        user = f"{session % 4}" if session % 40 == 0 else "NA"
        day = f"2016-05-{1 + session // 4:02d}"
        rows.append((session, user, 1000 + item, 40_000 * step + 17 * session, day))
    rng = np.random.default_rng(5)
    header = ["sessionId", "userId", "itemId", "timeframe", "eventdate"]
    write(tmp_path / "views.csv", header, rng.permutation(np.array(rows, dtype=object)), delimiter=";")
    code, _, err = recsys("init", "--interactions", "views.csv")
    assert code == 0, err
    log = written().data.interactions
    assert (log.user_id, log.item_id, log.timestamp) == ("sessionId", "itemId", "eventdate")
    assert log.timestamp_offset.model_dump() == {"column": "timeframe", "unit": "ms"}
    text = " ".join(Path("recsys.yaml").read_text(encoding="utf-8").replace("#", " ").split())
    assert "userId is missing in 97% of the rows, so a session of some 8 events stands for one" in text
    assert "both together make the time" in text
    assert lives(recsys, "3")
    table = pq.read_table(next(tmp_path.glob("workspace/**/ingest/*/interactions.parquet")))
    steps = {s: [1000 + i for u, i, s2 in walks(90, 8) if u == s] for s in (3,)}
    assert [
        int(i)
        for u, i in zip(*map(pa.ChunkedArray.to_pylist, (table["user_id"], table["item_id"])), strict=True)
        if u == "3"
    ] == steps[3]


def test_records_with_nested_fields_and_lists(recsys, tmp_path):
    with (tmp_path / "events.jsonl").open("w", encoding="utf-8") as file:
        for u, i, s in walks(40, 12):
            when = f"2024-05-{1 + s:02d}T{u % 24:02d}:{u:02d}:00Z"
            file.write(
                json.dumps({"user": {"id": f"u{u}"}, "item": {"id": f"i{i}", "tags": [f"t{i % 3}", "all"]}, "at": when})
                + "\n"
            )
    code, _, err = recsys("init", "--interactions", "events.jsonl")
    assert code == 0, err
    data = written().data
    assert (data.interactions.user_id, data.interactions.item_id) == ("user.id", "item.id")
    assert data.items.columns == {"item.tags": "multi_categorical"}
    tags = ingested(recsys, "items")
    assert all(set(row["item.tags"]) == {f"t{int(row['item_id'][1:]) % 3}", "all"} for row in tags.to_pylist())


@pytest.mark.parametrize("numbered", [False, True], ids=["criteo", "ali"])
def test_clicks_without_user_and_item(recsys, tmp_path, numbered):
    rng = np.random.default_rng(6)
    names = (
        ["click", "purchase", "101", "121", "206", "I1", "I2"]
        if numbered
        else ["label", *(f"I{n}" for n in range(1, 4)), *(f"C{n}" for n in range(1, 5))]
    )
    rows = []
    for _ in range(1500):
        group = int(rng.integers(6))
        click = int(rng.random() < 0.1 + 0.7 * (group % 2))
        numbers = rng.lognormal(2, 1.5, 3).astype(int).tolist()
        if numbered:
            rows.append(
                [click, int(click and rng.random() < 0.3), 4000 + group, int(rng.integers(50)), group, *numbers[:2]]
            )
        else:
            rows.append([click, *numbers, f"{group:08x}", *(f"{n:08x}" for n in rng.integers(0, 99, 3))])
    write(tmp_path / "train.csv", names, rows)
    code, out, err = recsys("init", "--interactions", "train.csv")
    assert code == 0, err
    config = written()
    log = config.data.interactions
    assert (log.user_id, log.item_id, config.routes, config.split.kind) == (None, None, {}, "random")
    assert log.labels == (("click", "purchase") if numbered else ("label",))
    assert set(log.context) == set(names) - set(log.labels)
    kinds = {"101": "categorical", "I1": "numeric"} if numbered else {"C1": "categorical", "I1": "numeric"}
    assert kinds.items() <= dict(log.context).items()
    assert "neither a user nor an item" in " ".join(out.split())
    assert "neither a user nor an item" in " ".join(Path("recsys.yaml").read_text().replace("#", " ").split())
    if not numbered:
        code, _, err = recsys("run", "recsys.yaml", "--set", "tracking.kind=none", "--set", "ranking.training.epochs=2")
        assert code == 0, err
