"""What people feed a pipeline: a clear message or the right answer, and nothing half-written."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from pipelines.store import Store
from recsys.cli import run_command

NO_NETWORKS = ["--set", "routes={popular: {kind: popular}, itemcf: {kind: itemcf}}", "--set", "ranking=null"]


@pytest.fixture
def folder(shop, tmp_path, monkeypatch):
    """A shop that has not run yet, with the current directory in it."""
    shop["write_shop"](tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def recsys(capsys):
    """Runs a command: exit code, what it printed, what it complained about."""

    def call(*arguments):
        code = run_command(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def edit(folder, change, name="events.csv"):
    """Rewrites a table, line by line: `change(number, line)`, the header being line 0."""
    path = folder / "data" / name
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(change(n, line) for n, line in enumerate(lines)) + "\n", encoding="utf-8")


def artifacts(folder):
    """The files of the workspace that a run commits."""
    passing = {"cache", ".lock"}
    return [p for p in (folder / "workspace").rglob("*") if p.is_file() and not passing.intersection(p.parts)]


def refused(recsys, folder, *words, arguments=("run", "shop.yaml")):
    code, _, err = recsys(*arguments)
    assert code == 2, err
    for word in words:
        assert word in err
    assert "Traceback" not in err
    assert artifacts(folder) == []


def test_a_missing_file(recsys, folder):
    (folder / "data" / "events.csv").unlink()
    refused(recsys, folder, "data/events.csv")


def test_a_missing_column(recsys, folder):
    edit(folder, lambda n, line: line.replace("item_id", "article") if n == 0 else line)
    refused(recsys, folder, "data/events.csv", "item_id", "article")


def test_too_many_values_of_the_wrong_type(recsys, folder):
    edit(folder, lambda n, line: f"{line}y" if n and n % 5 == 0 else line)
    refused(recsys, folder, "data/events.csv", "timestamp", "rejected")


def test_an_empty_table(recsys, folder):
    (folder / "data" / "events.csv").write_text("user_id,item_id,timestamp\n")
    refused(recsys, folder, "data/events.csv", "found no rows, expected at least one")


def test_an_unknown_key_is_answered_with_its_place(recsys, folder):
    text = (
        (folder / "shop.yaml").read_text(encoding="utf-8").replace("embedding_dim: 4, hidden: [4]", "embeding_dim: 4")
    )
    (folder / "shop.yaml").write_text(text, encoding="utf-8")
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "embeding_dim" in row)
    refused(recsys, folder, f"shop.yaml:{line}: routes.dssm.embeding_dim", "did you mean embedding_dim?")


def tables(folder):
    return pq.read_table(Store(folder / "workspace").latest()["ingest"].folder / "interactions.parquet").drop(["row"])


@pytest.mark.parametrize("form", ["milliseconds", "text"])
def test_times_in_another_form_are_the_same_times(recsys, folder, shop, tmp_path_factory, monkeypatch, form):
    assert recsys("run", "shop.yaml", *NO_NETWORKS)[0] == 0
    other = tmp_path_factory.mktemp("other")
    shop["write_shop"](other, unit=1000 if form == "milliseconds" else 1)
    if form == "text":
        from datetime import UTC, datetime

        def as_text(number, line):
            head, _, time = line.rpartition(",")
            return line if number == 0 else f"{head},{datetime.fromtimestamp(int(time), UTC).isoformat()}"

        edit(other, as_text)
    monkeypatch.chdir(other)
    assert recsys("run", "shop.yaml", *NO_NETWORKS)[0] == 0
    assert tables(other).equals(tables(folder))


def test_duplicate_events_count_once(recsys, folder):
    assert recsys("run", "shop.yaml", *NO_NETWORKS)[0] == 0
    once = tables(folder)
    edit(folder, lambda n, line: f"{line}\n{line}" if n and n % 7 == 0 else line)
    code, _, err = recsys("run", "shop.yaml", *NO_NETWORKS)
    assert code == 0
    assert "duplicates dropped" in err
    assert tables(folder).equals(once)


def test_a_few_bad_rows_are_kept_apart_with_their_reason(recsys, folder):
    edit(folder, lambda n, line: line.rpartition(",")[0] + ",soon" if n == 4 else line)
    code, _, err = recsys("run", "shop.yaml", *NO_NETWORKS)
    assert (code, "1 rejected" in err) == (0, True)
    rejected = pq.read_table(Store(folder / "workspace").latest()["ingest"].folder / "rejected.parquet").to_pylist()
    assert [(row["line"], row["column"], row["value"]) for row in rejected] == [(5, "timestamp", "soon")]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", ""])
def test_numbers_that_are_none_do_not_stop_a_run(recsys, folder, value):
    edit(folder, lambda n, line: line.replace(",3.0,", f",{value},") if n else line, "items.csv")
    code, _, err = recsys("run", "shop.yaml", *NO_NETWORKS, "--set", "data.max_reject_share=0.2")
    assert code == 0, err


def test_ids_come_back_as_they_went_in(recsys, finished, shop, monkeypatch):
    monkeypatch.chdir(finished)
    code, out, _ = recsys("recommend", "shop.yaml", "--user", "u 3", "-k", "5", "--explain", "--json")
    answer = json.loads(out)
    names = {shop["item_name"](item) for item in range(shop["ITEMS"])}
    assert (code, answer["known_user"], len(answer["items"])) == (0, True, 5)
    assert {item["item_id"] for item in answer["items"]} <= names


def test_users_without_history_and_strangers_get_a_full_list(recsys, finished, shop, monkeypatch):
    monkeypatch.chdir(finished)
    for user, known in ((f"u {shop['USERS']}", True), ("nobody", False)):
        code, out, _ = recsys("recommend", "shop.yaml", "--user", user, "-k", "5", "--json")
        answer = json.loads(out)
        assert (code, answer["known_user"], len(answer["items"])) == (0, known, 5)


def test_an_item_never_seen_is_reported_and_ignored(recsys, finished, shop, monkeypatch):
    monkeypatch.chdir(finished)
    code, out, _ = recsys("recommend", "shop.yaml", "--history", f"new thing,{shop['item_name'](2)}", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["unknown_items"] == ["new thing"]
    assert answer["items"]


def test_a_bundle_with_one_byte_changed_is_refused(recsys, finished, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(finished / "workspace" / "bundles" / "1", bundle)
    victim = bundle / "catalogue" / "popularity.npy"
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    code, _, err = recsys("recommend", str(bundle), "--user", "u 1")
    assert code == 1
    assert "popularity.npy" in err
