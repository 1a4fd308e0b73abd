"""The stages of a real, small pipeline."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.candidates import GroupedRequests
from pipelines.graph import Observer, execute, plan
from pipelines.run import run_pipeline
from pipelines.stages import stages_for
from pipelines.store import Store
from recsys.bundle.store import versions
from recsys.config import Config
from recsys.settings import load_settings


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    """A copy of the finished run, with the current directory in it."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    monkeypatch.chdir(copy)
    return copy


def config(*overrides):
    return load_settings(Config, "shop.yaml", overrides=overrides)


def stale(*overrides):
    """The stages that would run."""
    settings = config(*overrides)
    return [status.stage for status in plan(stages_for(settings), Path(settings.workspace)) if status.state != "fresh"]


def run(*overrides):
    settings = config(*overrides)
    return run_pipeline(settings)


def metrics(artifacts):
    return json.loads((artifacts["evaluate"].folder / "metrics.json").read_text(encoding="utf-8"))


def test_a_second_run_does_nothing(folder):
    kept = [folder / "workspace" / name for name in ("artifacts", "bundles")]
    before = sorted(path for part in kept for path in part.rglob("*"))
    result = run()
    assert all(artifact.cached for artifact in result.artifacts.values())
    assert versions(folder / "workspace" / "bundles") == [1]
    assert sorted(path for part in kept for path in part.rglob("*")) == before


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("ranking.model.dropout=0.5", ["ranking", "bundle", "evaluate"]),
        ("ranking.samples.candidate_negatives=9", ["candidates", "ranking", "bundle", "evaluate"]),
        ("evaluation.bootstrap=60", ["evaluate"]),
        ("routes.itemcf.window=3", ["recall.itemcf", "candidates", "ranking", "refit.itemcf", "bundle", "evaluate"]),
        ("tracking.kind=mlflow", []),
    ],
)
def test_a_changed_setting_runs_what_depends_on_it(folder, override, expected):
    assert stale(override) == expected


def test_changed_weights_of_the_ranker_are_a_new_version(folder):
    run("ranking.training.epochs=1")
    assert versions(folder / "workspace" / "bundles") == [1, 2]


def test_the_lists_on_disk_give_the_reported_figures(folder):
    artifacts = Store(folder / "workspace").latest()
    where = artifacts["evaluate"].folder
    listed = pq.read_table(where / "test_top_k.parquet").to_pylist()
    wanted = pq.read_table(where / "test_positives.parquet").to_pylist()
    truth, answers = {}, {}
    for row in wanted:
        truth.setdefault(row["user_id"], set()).add(row["item_id"])
    for row in listed:
        answers.setdefault(row["user_id"], {})[row["rank"]] = row["item_id"]
    ndcg, recall = [], []
    for user, items in truth.items():
        hits = [rank for rank, item in answers[user].items() if rank <= 10 and item in items]
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(items), 10) + 1))
        ndcg.append(sum(1 / math.log2(rank + 1) for rank in hits) / ideal)
        recall.append(len(hits) / len(items))
    assert metrics(artifacts)["funnel/ndcg@10"] == pytest.approx(sum(ndcg) / len(ndcg))
    assert metrics(artifacts)["funnel/recall@10"] == pytest.approx(sum(recall) / len(recall))


def test_what_is_tested_on_is_not_learned_from(folder):
    """Other items in the test window leave every fitted part as it was."""
    before = {name: artifact.content for name, artifact in Store(folder / "workspace").latest().items()}
    lines = (folder / "data" / "events.csv").read_text(encoding="utf-8").splitlines()
    last = {line.split(",")[0]: number for number, line in enumerate(lines[1:], 1)}
    for number in last.values():
        user, _, time = lines[number].split(",")
        other = lines[1 + number % 5].split(",")[1]
        lines[number] = f"{user},{other},{time}"
    (folder / "data" / "events.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    after = run().artifacts
    learned = [
        name for name in after if name.partition(".")[0] in ("features", "recall", "refit", "candidates", "ranking")
    ]
    assert len(learned) == 9
    assert {name: after[name].content for name in learned} == {name: before[name] for name in learned}
    assert after["evaluate"].content != before["evaluate"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("refit=none",),
        ("refit=all", "routes.dssm={kind: popular, half_life_days: null}"),
        ("ranking=null",),
        ("ranking.model={kind: din, embedding_dim: 4, hidden: [8], attention_hidden: [4]}",),
        ("split={kind: global_time, rank: 0.1, valid: 0.1, test: 0.1}",),
        ("split={kind: leave_last_out}",),
        ("split={kind: random, rank: 0.1, valid: 0.1, test: 0.1}", "ranking.samples.per=event"),
        ("policy.exclude_seen=recent", "policy.recent=3"),
        ("fusion.weights=equal",),
        ("fusion.kind=weighted_sum", "fusion.scale=deviation"),
        ("fusion.kind=quota",),
    ],
    ids=lambda overrides: overrides[0].partition(",")[0],
)
def test_every_shape_of_pipeline_runs(folder, overrides):
    # Without the two-tower, whose export takes seconds; one variant above keeps it.
    small = () if any("routes" in o or o == "refit=none" for o in overrides) else ("routes.dssm={kind: itemcf}",)
    artifacts = run(*overrides, *small).artifacts
    found = metrics(artifacts)
    assert 0 <= found["funnel/ndcg@10"] <= 1
    assert ("ranker/auc" in found) == ("ranking=null" not in overrides)


def test_candidates_are_described_alike_a_few_requests_at_a_time(folder, monkeypatch):
    once = Store(folder / "workspace").latest()["candidates"].folder
    before = {part: GroupedRequests.load(once / part) for part in ("train", "valid")}
    monkeypatch.setattr("pipelines.candidates._TOGETHER", 9)
    stages, workspace = stages_for(config()), folder / "workspace"
    again = execute(stages, workspace, until="candidates", force=("candidates",))["candidates"].folder
    for part, expected in before.items():
        found = GroupedRequests.load(again / part)
        assert len(found.requests) % 9
        np.testing.assert_array_equal(found.groups.codes, expected.groups.codes)
        assert found.route.keys() == expected.route.keys()
        for name, values in expected.route.items():
            np.testing.assert_allclose(found.route[name], values, rtol=1e-5, atol=1e-5)


def test_labelled_rows_train_a_click_model(folder):
    events = (folder / "data" / "events.csv").read_text(encoding="utf-8").splitlines()
    rows = [events[0] + ",click"] + [f"{line},{number % 3 == 0:d}" for number, line in enumerate(events[1:])]
    (folder / "data" / "events.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = metrics(
        run(
            "data.interactions.labels=[click]",
            "data.positive={label: click, at_least: 1}",
            "split={kind: random, rank: 0, valid: 0.2, test: 0.2}",
            "ranking.samples={kind: events}",
            "routes={popular: {kind: popular, half_life_days: null}}",
            "refit=none",
        ).artifacts
    )
    assert 0 <= found["ranker/auc"] <= 1


def test_a_run_is_tracked_with_its_stages_and_its_bundle(folder):
    from mlflow.tracking import MlflowClient

    result = run("tracking.kind=mlflow", "ranking.training.epochs=1")
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'workspace' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("shop").experiment_id])
    children = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert set(children) == {"ranking", "bundle", "evaluate"}
    assert parent.info.status == "FINISHED"
    assert parent.data.params["ranking.model.kind"] == "deepfm"
    assert {"config_hash", "data_hash", "git_revision"} <= set(parent.data.tags)
    assert parent.data.metrics["funnel/ndcg_at_10"] == pytest.approx(metrics(result.artifacts)["funnel/ndcg@10"])
    assert client.get_metric_history(children["ranking"].info.run_id, "train/loss")
    assert "one request takes, in ms" in children["evaluate"].data.tags["messages"]
    curves = client.get_run(children["ranking"].info.run_id).data.metrics
    assert {"health/gradient/inputs.embeddings", "health/dead_units/deep.blocks.0"} <= curves.keys()
    assert client.get_registered_model("shop").latest_versions[0].run_id == parent.info.run_id
    assert {"plots", "report"} <= {file.path for file in client.list_artifacts(parent.info.run_id)}


class Killed(Observer):
    """Stops a run in the second epoch of its ranker."""

    def on_metric(self, stage, name, value, step):
        if (stage.name, name, step) == ("ranking", "train/loss", 2):
            raise KeyboardInterrupt


def test_a_training_that_was_stopped_goes_on(folder):
    changed = ("ranking.training.epochs=3", "ranking.training.checkpoint_minutes=0", "ranking.training.patience=0")
    stages, workspace = stages_for(config(*changed)), folder / "workspace"
    with pytest.raises(KeyboardInterrupt):
        execute(stages, workspace, observer=Killed())
    (checkpoint,) = (workspace / "unfinished" / "ranking").rglob("training.pt")
    state = torch.load(checkpoint, weights_only=True)
    assert state["module"]["progress"]["epoch"] == 1
    resumed = execute(stages, workspace)["ranking"]
    assert not (workspace / "unfinished").exists()
    again = execute(stages, workspace, force=("ranking",))["ranking"]
    assert (resumed.content, resumed.curves) == (again.content, again.curves)
