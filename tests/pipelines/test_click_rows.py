"""A log without users and items, from given files to scored rows: on the command line and over HTTP."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from starlette.testclient import TestClient

from pipelines.run import run_pipeline
from recsys.cli import run_command
from recsys.config import Config
from recsys.errors import BundleError, InputError
from recsys.features.onnx import OnnxGraph
from recsys.funnel.requests import Request
from recsys.funnel.runtime import Funnel
from recsys.ranking.configs import MULTI_TASK, TREES
from recsys.ranking.registry import RANKERS
from recsys.serving.app import create_app
from recsys.serving.schema import MAX_ROWS
from recsys.settings import load_settings

ROWS = {"train": 600, "valid": 300, "test": 400}
HEADER = ["click", "buy", "I1", "101", "tags", "at", "list"]
CONFIG = """\
name: clicks
workspace: workspace
data:
  interactions:
    files: {train: train.csv, valid: valid.csv, test: test.csv}
    user_id: null
    item_id: null
    timestamp: null
    labels: [click, buy]
    context: {I1: numeric, "101": categorical, tags: {kind: multi_categorical, separator: "|"}, at: timestamp}
  order: none
  positive: {label: click, at_least: 1}
split: {kind: given}
routes: {}
ranking:
  model: {kind: deepfm, embedding_dim: 4, hidden: [8]}
  training: {epochs: 4, batch_size: 64, threads: 1, optimiser: {learning_rate: 0.02}}
tracking: {kind: none}
"""
SEQUENCES = {"din", "dien", "dsin", "bst"}
SIZES = {"lr": {}, "gbdt": {"trees": 5}, "gbdt_lr": {"trees": 5}}
GBDT = "{kind: gbdt, trees: 10, min_leaf: 5}"
LAMBDAMART = "{kind: lambdamart, trees: 20, min_leaf: 2}"


def drawn(count, rng):
    """Rows: what is liked is said by a category, a number and a tag, together."""
    for row in range(count):
        group, number, tag = int(rng.integers(6)), float(rng.normal()), "ab"[int(rng.integers(2))]
        odds = 3 * (group % 2) + 1.5 * number - 2 * (tag == "a") - 1
        click = int(rng.random() < 1 / (1 + np.exp(-odds)))
        buy = int(click and rng.random() < 0.5)
        time = f"2024-03-0{1 + row % 7}T{row % 24:02}:00:00"
        yield [click, buy, "" if row % 11 == 0 else f"{number:.4f}", group, f"{tag}|c", time, row // 4]


def write_log(folder, rows=ROWS):
    rng = np.random.default_rng(0)
    for name, count in rows.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEADER, *drawn(count, rng)])
    (folder / "clicks.yaml").write_text(CONFIG, encoding="utf-8")


def column(path, name):
    with Path(path).open(encoding="utf-8") as file:
        return [row[name] for row in csv.DictReader(file)]


def labels(name="click"):
    return np.array(column("test.csv", name), dtype=int)


def run(*overrides):
    """The metrics of the report, and the bundle."""
    made = run_pipeline(load_settings(Config, "clicks.yaml", overrides=overrides))
    metrics = json.loads((made.artifacts["evaluate"].folder / "metrics.json").read_text(encoding="utf-8"))
    return metrics, made.artifacts["bundle"].folder.resolve() / "bundles" / "1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the pipeline of clicks ran."""
    folder = tmp_path_factory.mktemp("clicks")
    write_log(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command(["run", "clicks.yaml"]) == 0
    return folder


@pytest.fixture
def here(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


@pytest.fixture
def other(tmp_path, monkeypatch):
    """A folder with a small log of its own."""
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path, {"train": 120, "valid": 80, "test": 80})
    return tmp_path


@pytest.fixture
def funnel(here):
    return Funnel.load(here / "workspace" / "bundles" / "1")


def scored(rows="test.csv", out="scores.parquet"):
    assert run_command(["score-rows", "clicks.yaml", "--rows", rows, "--out", out]) == 0
    return pq.read_table(out).to_pydict()


def raw_rows(path="test.csv"):
    """The rows as a caller of the service sends them."""
    with Path(path).open(encoding="utf-8") as file:
        return [
            {
                "I1": float(row["I1"]) if row["I1"] else None,
                "101": row["101"],
                "tags": row["tags"].split("|"),
            }
            for row in csv.DictReader(file)
        ]


class TestReport:
    def test_its_figures_are_those_of_the_scored_file(self, here, capsys):
        found = scored()
        assert found["row"] == list(range(ROWS["test"]))
        assert run_command(["report", "clicks.yaml", "--json"]) == 0
        out = capsys.readouterr().out
        metrics = json.loads(out[out.index("{") :])["evaluate"]
        assert metrics["ranker/auc"] == pytest.approx(roc_auc_score(labels(), found["score"]), abs=1e-6)
        assert metrics["ranker/auc"] == pytest.approx(roc_auc_score(labels(), found["probability"]), abs=1e-6)
        assert metrics["ranker/logloss"] == pytest.approx(log_loss(labels(), found["probability"]), abs=1e-6)
        assert metrics["ranker/auc"] > 0.75
        assert (metrics["rows"], metrics["positives"]) == (ROWS["test"], labels().sum())
        assert not [name for name in metrics if "ndcg" in name or "gauc" in name]

    def test_it_speaks_of_rows(self, here, capsys):
        assert run_command(["report", "clicks.yaml"]) == 0
        text = capsys.readouterr().out
        assert f"400 test rows, {labels().sum()} of them positive" in text
        assert "Protocol: rows by themselves, windows as given" in text
        page = Path(re.search(r"report: (.*)", text)[1]).read_text(encoding="utf-8")
        assert "log loss" in page
        assert "AUC" in page
        assert "NDCG" not in page

    def test_the_scores_behind_it_are_written(self, here):
        rows = pq.read_table(next(here.glob("workspace/artifacts/evaluate/*/test_rows.parquet"))).to_pydict()
        first = ROWS["train"] + ROWS["valid"]
        assert rows["row"] == list(range(first, first + ROWS["test"]))
        assert rows["label"] == labels().tolist()
        np.testing.assert_allclose(rows["score"], scored()["score"], atol=1e-5)

    def test_nothing_is_stale_afterwards(self, here, capsys):
        assert run_command(["status", "clicks.yaml", "--json"]) == 0
        stages = {stage["stage"]: stage["state"] for stage in json.loads(capsys.readouterr().out)["stages"]}
        assert set(stages.values()) == {"fresh"}
        assert list(stages) == ["ingest", "split", "features", "candidates", "ranking", "bundle", "evaluate"]


class TestService:
    def test_it_says_of_rows_what_the_file_says(self, here):
        times = column("test.csv", "at")
        rows = [{**row, "at": time} for row, time in zip(raw_rows(), times, strict=True)][:50]
        with TestClient(create_app(here / "workspace" / "bundles")) as client:
            answer = client.post("/v1/predict", json={"rows": rows})
        assert answer.status_code == 200
        body = answer.json()
        assert (body["bundle"], body["bundle_version"]) == ("clicks", 1)
        found = scored("test.csv")
        own = [(one["score"], one["probability"]) for one in body["predictions"]]
        expected = list(zip(found["score"], found["probability"], strict=True))[:50]
        np.testing.assert_allclose(own, expected, atol=1e-5)

    def test_its_document_describes_the_columns_by_an_example_that_works(self, here):
        with TestClient(create_app(here / "workspace" / "bundles")) as client:
            body = client.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]
            (example,) = body["examples"]
            answer = client.post("/v1/predict", json=example)
        columns = body["properties"]["rows"]["items"]["properties"]
        assert list(columns) == list(example["rows"][0]) == ["I1", "101", "tags", "at"]
        assert columns["I1"]["description"] == "Send a number, such as 12.5."
        assert answer.status_code == 200

    def test_what_is_missing_and_what_was_never_seen_are_scored(self, funnel):
        assert np.isfinite(funnel.predict([{}, {"101": "never", "I1": None, "tags": []}]).scores).all()

    def test_a_row_is_scored_by_itself(self, funnel):
        rows = raw_rows()[:20]
        alone = [funnel.predict([row]).scores[0] for row in rows]
        np.testing.assert_allclose(funnel.predict(rows).scores, alone, atol=1e-5)

    @pytest.mark.parametrize(
        ("body", "status", "what"),
        [
            ({"rows": [{"I1": 1.0}, {"I2": 1.0}]}, 422, "rows.1.I2: the bundle does not read this column; it reads I1"),
            ({"rows": []}, 422, "rows: "),
            ({"rows": [{}] * (MAX_ROWS + 1)}, 422, "rows: "),
            ({"rows": [{"I1": "a lot"}]}, 422, "I1"),
            ({}, 422, "rows: Field required"),
        ],
    )
    def test_what_it_refuses(self, here, body, status, what):
        with TestClient(create_app(here / "workspace" / "bundles"), raise_server_exceptions=False) as client:
            answer = client.post("/v1/predict", json=body)
        assert answer.status_code == status
        assert what in answer.json()["error"]

    def test_it_recommends_nothing_and_says_what_it_does(self, here, funnel, capsys):
        what = r"scores rows: `recsys score-rows`, or POST /v1/predict"
        with pytest.raises(InputError, match=what):
            funnel.recommend([Request()], 5)
        with pytest.raises(InputError, match=what):
            funnel.explain(Request(), "1", 5)
        assert run_command(["recommend", "clicks.yaml", "--user", "7"]) == 2
        assert re.search(what, capsys.readouterr().err)
        with TestClient(create_app(here / "workspace" / "bundles")) as client:
            answer = client.post("/v1/recommend", json={})
        assert answer.status_code == 422
        assert re.search(what, answer.json()["error"])


class TestFiles:
    def test_every_row_is_there_and_what_cannot_be_read_has_no_score(self, here, capsys):
        Path("odd.csv").write_text("I1,101,tags,click\n1.5,3,a,1\nmuch,3,a,0\n1,2\n-1,4,b,0\n", encoding="utf-8")
        found = scored("odd.csv")
        assert found["row"] == [0, 1, 2, 3]
        assert [score is None for score in found["score"]] == [False, True, True, False]
        assert [chance is None for chance in found["probability"]] == [False, True, True, False]
        told = capsys.readouterr().err
        assert "count as missing: at" in told
        assert "2 of 4 rows have no score; the first: odd.csv:3: column I1: found 'much', expected a number" in told

    def test_files_of_a_folder_follow_one_another(self, here, tmp_path):
        whole = scored()
        lines = Path("test.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / "a.csv").write_text("".join(lines[:101]), encoding="utf-8")
        (tmp_path / "b.csv").write_text("".join([lines[0], *lines[101:]]), encoding="utf-8")
        parts = scored(str(tmp_path))
        assert parts["row"] == whole["row"]
        np.testing.assert_allclose(parts["score"], whole["score"], atol=1e-5)

    def test_a_small_batch_changes_nothing(self, here, monkeypatch):
        whole = scored()["score"]
        monkeypatch.setattr("recsys.serving.row_files._CHUNK", 37)
        np.testing.assert_allclose(scored()["score"], whole, atol=1e-5)

    def test_a_file_with_none_of_the_columns_is_refused(self, here, capsys):
        Path("else.csv").write_text("a,b\n1,2\n", encoding="utf-8")
        assert run_command(["score-rows", "clicks.yaml", "--rows", "else.csv", "--out", "no.parquet"]) == 2
        assert "else.csv: found none of the columns that the bundle reads: I1, 101, tags, at" in capsys.readouterr().err
        assert not list(here.glob("no.parquet*"))


class TestBundle:
    def test_it_holds_golden_rows_with_their_scores(self, funnel):
        assert len(funnel.manifest.golden_rows) == funnel.parts.golden_rows.num_rows == 9
        rows = funnel.rows.of_table(funnel.parts.golden_rows)
        np.testing.assert_allclose(funnel.predict_rows(rows).logits, funnel.manifest.golden_rows, atol=1e-5)
        assert len({row for row in funnel.manifest.golden_rows}) > 5

    def test_another_answer_is_noticed(self, funnel, monkeypatch):
        plain = OnnxGraph.run
        monkeypatch.setattr(OnnxGraph, "run", lambda self, inputs: plain(self, inputs) + 0.01)
        with pytest.raises(BundleError, match="golden row 0: logits"):
            funnel.replay(Path("here"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted({*RANKERS, *TREES} - SEQUENCES - {"lambdamart"}))
def test_every_ranker_learns_from_rows(other, kind):
    """That each works without inputs of a request, the contract of rankers says at less cost."""
    model = {"kind": kind, **SIZES.get(kind, {"embedding_dim": 4})}
    several = ("ranking.tasks={click: {label: click}, buy: {label: buy}}",) if kind in MULTI_TASK else ()
    metrics, bundle = run(f"ranking.model={json.dumps(model)}", "ranking.training.epochs=1", *several)
    assert 0 <= metrics["ranker/auc"] <= 1
    assert np.isfinite(metrics["ranker/logloss"])
    predictions = Funnel.load(bundle).predict(raw_rows()[:3])
    assert predictions.probabilities.shape == (3, 2 if several else 1)


def test_tasks_have_figures_and_probabilities_of_their_own(other):
    model = '{"kind": "shared_bottom", "embedding_dim": 4, "hidden": [8], "tower_hidden": [4]}'
    tasks = "ranking.tasks={click: {label: click}, buy: {label: buy}}"
    metrics, _ = run(f"ranking.model={model}", tasks)
    found = scored()
    for name in ("click", "buy"):
        chances = found[f"probability.{name}"]
        assert metrics[f"task/{name}/auc"] == pytest.approx(roc_auc_score(labels(name), chances), abs=1e-6)
        assert metrics[f"task/{name}/logloss"] == pytest.approx(log_loss(labels(name), chances), abs=1e-6)
    with TestClient(create_app(other / "workspace" / "bundles")) as client:
        answer = client.post("/v1/predict", json={"rows": raw_rows()[:1]}).json()["predictions"][0]
    assert set(answer["probability"]) == {"click", "buy"}


@pytest.mark.parametrize("settings", ["ranking.loss=softmax", f"ranking.model={LAMBDAMART}"])
def test_the_rows_of_a_list_are_compared(other, settings):
    """What compares lists reads the columns of each row, not those of the first row of its list."""
    lists = "data.interactions.request_id=list"
    metrics, bundle = run("ranking.model={kind: lr}", "ranking.training.epochs=20", lists, settings)
    assert metrics["ranker/gauc"] > 0.6
    assert Funnel.load(bundle).predict([{}]).probabilities is None


def test_a_calibration_says_the_probabilities(other):
    metrics, bundle = run(f"ranking.model={GBDT}", "ranking.calibration=platt")
    predictions = Funnel.load(bundle).predict(raw_rows())
    assert metrics["ranker/logloss"] == pytest.approx(log_loss(labels(), scored()["probability"]), abs=1e-6)
    assert np.abs(1 / (1 + np.exp(-predictions.scores)) - predictions.probabilities[:, 0]).max() > 0.01


def test_one_file_is_cut_at_random_or_in_time(other):
    ids = "user_id: null, item_id: null, labels: [click], context: {'101': categorical}"
    whole = f"data.interactions={{path: train.csv, {ids}"
    model = f"ranking.model={GBDT}"
    metrics, _ = run(whole + "}", "split={kind: random, rank: 0, valid: 0.3, test: 0.3}", "data.order=row", model)
    assert 20 < metrics["rows"] < 50
    cut = "split={kind: global_time, rank: 0, valid: 0.2, test: 0.2}"
    metrics, _ = run(whole + ", timestamp: at}", cut, "data.order=timestamp", model)
    # Seven days, of which the last is a seventh of the rows; a moment is never cut.
    assert 24 <= metrics["rows"] < 60


def test_no_row_is_a_duplicate_and_a_sample_is_of_rows(other):
    text = Path("train.csv").read_text(encoding="utf-8")
    Path("train.csv").write_text(text + "".join(text.splitlines(keepends=True)[1:]), encoding="utf-8")
    made = run_pipeline(load_settings(Config, "clicks.yaml"), until="ingest").artifacts["ingest"]
    assert made.metrics["interactions/kept"] == 400
    some = run_pipeline(load_settings(Config, "clicks.yaml", overrides=["data.sample=0.5"]), until="ingest")
    assert 150 < some.artifacts["ingest"].metrics["interactions/kept"] < 250
    lists = ["data.sample=0.5", "data.interactions.request_id=list"]
    whole = run_pipeline(load_settings(Config, "clicks.yaml", overrides=lists), until="ingest").artifacts["ingest"]
    kept = pq.read_table(whole.folder / "interactions.parquet", columns=["request_id"])["request_id"].to_pylist()
    every = [row for name in ROWS for row in column(f"{name}.csv", "list")]
    assert Counter(kept) == {name: count for name, count in Counter(every).items() if name in set(kept)}


def test_rows_beyond_the_memory_are_streamed(other, capsys):
    settings = ["--set", "ranking.model={kind: lr}", "--set", "ranking.memory_mb=0.004"]
    assert run_command(["run", "clicks.yaml", *settings]) == 0
    assert "streaming" in capsys.readouterr().err
    assert run_command(["report", "clicks.yaml", *settings, "--json"]) == 0
    out = capsys.readouterr().out
    metrics = json.loads(out[out.index("{") :])["evaluate"]
    assert metrics["ranker/auc"] == pytest.approx(roc_auc_score(labels(), scored()["score"]), abs=1e-6)
