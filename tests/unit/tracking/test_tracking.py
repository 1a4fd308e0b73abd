import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import urllib.request
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from recsys.errors import InputError
from recsys.tracking import registry
from recsys.tracking.journal import leftover_journals
from recsys.tracking.mlflow import SPOOL, MlflowTracker, tracking_uri, ui_address, ui_command
from recsys.tracking.null import NullTracker
from recsys.tracking.registry import make_tracker


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """One database for all tests: making its tables takes seconds."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture
def said():
    return []


@pytest.fixture
def tracker(workspace, said):
    return MlflowTracker(workspace, experiment="shop", say=said.append)


@pytest.fixture
def client(workspace):
    """The way a reader of the records gets at them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.tracking import MlflowClient

        # The store's module warns when it is first imported.
        return MlflowClient(tracking_uri(workspace), registry_uri=tracking_uri(workspace))


def test_a_run_is_recorded_whole(tracker, client, tmp_path, said):
    (tmp_path / "plots").mkdir()
    (tmp_path / "report.txt").write_text("NDCG@10 .1")
    (tmp_path / "plots" / "loss.png").write_bytes(b"png")
    with tracker.start("nightly", tags={"config_hash": "abc"}, params={"seed": 42, "routes.dssm.epochs": None}) as run:
        run.metric("loss", 0.5, 0)
        run.metric("loss", 0.25, 1)
        run.metrics({"funnel/ndcg@10": 0.125, "requests": 7})
        run.tags({"bundle": "3"})
        run.artifact(tmp_path / "report.txt")
        run.artifact(tmp_path, "report")
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "nightly"
    assert found.data.params == {"seed": "42", "routes.dssm.epochs": "None"}
    assert found.data.metrics == {"loss": 0.25, "funnel/ndcg_at_10": 0.125, "requests": 7.0}
    assert [(m.step, m.value) for m in client.get_metric_history(run.run_id, "loss")] == [(0, 0.5), (1, 0.25)]
    tags = {"config_hash": "abc", "bundle": "3", "mlflow.source.name": "recsys"}
    assert tags.items() <= found.data.tags.items()
    assert {f.path for f in client.list_artifacts(run.run_id)} == {"report.txt", "report"}
    assert {f.path for f in client.list_artifacts(run.run_id, "report")} == {"report/report.txt", "report/plots"}
    assert said == []


def test_database_and_artifacts_are_inside_the_workspace(tracker, client, workspace, tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with tracker.start("files") as run:
        run.artifact(tmp_path / "x.txt")
    assert (workspace / "mlflow.db").is_file()
    assert (workspace / "mlruns" / run.run_id / "artifacts" / "x.txt").read_text() == "x"
    assert client.get_experiment_by_name("shop").tags["mlflow.experimentKind"] == "custom_model_development"


def test_nested_runs_belong_to_the_open_run(tracker, client):
    with tracker.start("pipeline") as parent:
        with tracker.start("recall", nested=True) as first:
            pass
        with tracker.start("ranking", nested=True) as second, tracker.start("fold", nested=True) as third:
            pass
    with tracker.start("next") as after:
        pass
    parents = [client.get_run(run.run_id).data.tags.get("mlflow.parentRunId") for run in (first, second, third, after)]
    assert parents == [parent.run_id, parent.run_id, second.run_id, None]


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_says_how_it_ended(tracker, client, error, status):
    with pytest.raises(error), tracker.start("broken") as run:
        raise error
    assert client.get_run(run.run_id).info.status == status
    run.end("finished")
    assert client.get_run(run.run_id).info.status == status, "an ended run stays ended"


def test_a_bundle_becomes_the_next_version_of_a_model(tracker, client, tmp_path):
    (tmp_path / "routes").mkdir()
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "shop"}))
    (tmp_path / "routes" / "weights.npy").write_bytes(b"\x93NUMPY")
    with tracker.start("pipeline") as run:
        assert tracker.register_model("shop", tmp_path, run, tags={"bundle": "bundles/1"}) == "1"
        assert tracker.register_model("shop", tmp_path, run) == "2"
    version = client.get_model_version("shop", "1")
    assert (version.run_id, version.status, version.tags) == (run.run_id, "READY", {"bundle": "bundles/1"})
    files = {file.path for file in client.list_artifacts(run.run_id, "model")}
    assert files == {"model/MLmodel", "model/bundle"}
    bundle = {file.path for file in client.list_artifacts(run.run_id, "model/bundle")}
    assert bundle == {"model/bundle/manifest.json", "model/bundle/routes"}, "the bundle holds what it held, no more"
    with open(f"{version.source}/MLmodel") as file:
        assert yaml.safe_load(file)["flavors"] == {"recsys": {"bundle": "bundle"}}


def artifact(client, run, path, folder):
    """A JSON file of a run."""
    return json.loads(Path(client.download_artifacts(run.run_id, path, str(folder))).read_text(encoding="utf-8"))


def test_values_that_are_too_long_are_cut_and_kept_whole_in_an_artifact(tracker, client, said, tmp_path):
    long = {"columns": "€" * 7000, "k" * 300: "1"}
    with tracker.start("long", tags={"note": "t" * 9000}, params={**long, "seed": 7}) as run:
        run.params({"more": "x" * 6001, "fits": "x" * 6000})
    found = client.get_run(run.run_id).data
    files = sorted(file.path for file in client.list_artifacts(run.run_id, "whole"))
    assert [artifact(client, run, file, tmp_path) for file in files] == [
        long,
        {"more": "x" * 6001},
        {"note": "t" * 9000},
    ]
    end = f" … (cut; see artifact {files[0]})"
    assert found.params["columns"] == "€" * (6000 - len(end)) + end
    assert found.params["fits"] == "x" * 6000
    assert [value for key, value in found.params.items() if key.startswith("k" * 200)] == ["1"]
    assert found.tags["note"].endswith(f" … (cut; see artifact {files[2]})")
    assert said == []


def test_many_values_are_sent_in_several_batches(tracker, client, said):
    with tracker.start("many", tags={f"t{i}": str(i) for i in range(110)}) as run:
        run.metrics({f"m/{i}": i for i in range(250)})
        run.params({f"p{i}": i for i in range(150)})
    found = client.get_run(run.run_id).data
    assert (len(found.metrics), len(found.params)) == (250, 150)
    assert {f"t{i}": str(i) for i in range(110)}.items() <= found.tags.items()
    assert said == []


STRANGE = ("price €", "price $", "price _", "a=b", "a/../b", "b/", "/b", "..c", ".", "50 %", "c\nd", "цена", "k" * 300)


def test_names_that_mlflow_does_not_take_are_recorded_apart(tracker, client, said):
    with tracker.start("names", params={name: name for name in STRANGE}, tags={name: name for name in STRANGE}) as run:
        run.metrics({name: at for at, name in enumerate(STRANGE)})
    found = client.get_run(run.run_id).data
    assert sorted(found.params.values()) == sorted(STRANGE)
    assert sorted(found.metrics.values()) == list(range(len(STRANGE)))
    assert set(STRANGE) <= set(found.tags.values())
    assert found.params["price _x20ac_"] == "price €"
    assert said == []


def test_a_refused_key_costs_that_key_alone(tracker, client, said, tmp_path):
    # MLflow takes no empty name and no second value of a setting.
    with tracker.start("refused", params={"seed": 1}, tags={"": "nameless", "git": "abc"}) as run:
        run.params({"seed": 2, "epochs": 3, "": "x"})
        run.metrics({"": 0.5, "auc": 0.75})
    found = client.get_run(run.run_id)
    assert found.data.params == {"seed": "1", "epochs": "3"}
    assert found.data.metrics == {"auc": 0.75}
    assert found.data.tags["git"] == "abc"
    kept = [artifact(client, run, file.path, tmp_path) for file in client.list_artifacts(run.run_id, "whole")]
    assert kept == [{"seed": "2", "": "x"}, {"": "nameless"}]
    assert len(said) == 1
    assert said[0].startswith(f"tracking: could not record tags at {tracker.uri} (1 of 2 refused: ")
    assert found.info.status == "FINISHED"


def test_a_deleted_experiment_comes_back(workspace, client):
    with MlflowTracker(workspace, experiment="gone").start("first"):
        pass
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with MlflowTracker(workspace, experiment="gone").start("second") as run:
        pass
    assert client.get_run(run.run_id).info.status == "FINISHED"


def test_what_is_refused_is_said_once_and_the_run_goes_on(tracker, client, said, tmp_path):
    with tracker.start("trouble") as run:
        run.params({"seed": 1})
        run.params({"seed": 2})
        run.artifact(tmp_path / "not-there.txt")
        run.metric("loss", 0.5)
        assert tracker.register_model("no/such:name", tmp_path, run) is None
    assert len(said) == 1
    assert said[0].startswith(f"tracking: could not record settings at {tracker.uri} (1 of 1 refused: seed: ")
    assert said[0].endswith("); the run goes on")
    found = client.get_run(run.run_id)
    assert (found.data.metrics, found.info.status) == ({"loss": 0.5}, "FINISHED")
    assert waiting(tracker._workspace) == []


def test_without_a_listener_failures_are_logged(workspace, tmp_path, caplog):
    with caplog.at_level(logging.WARNING), MlflowTracker(workspace, experiment="shop").start("quiet") as run:
        run.artifact(tmp_path / "not-there.txt")
    assert [record.message.partition(" at ")[0] for record in caplog.records] == [
        "tracking: could not record artifact not-there.txt"
    ]


def waiting(workspace):
    return leftover_journals(workspace / SPOOL)


def whole_run(tracker, folder):
    """A pipeline's worth: nested runs, curves, files, a model, one failed stage."""
    (folder / "bundle").mkdir(parents=True)
    (folder / "bundle" / "manifest.json").write_text("{}")
    (folder / "report.txt").write_text("good")
    with tracker.start("pipeline", params={"seed": 1}, tags={"git": "abc"}) as run:
        with tracker.start("ranking", nested=True) as stage:
            for step in range(3):
                stage.metric("loss", 1.0 / (step + 1), step)
            stage.metrics({"auc": 0.75, "odd": float("nan")})
        run.artifact(folder / "report.txt", "report")
        run.tags({"data": "d"})
        tracker.register_model("spooled", folder / "bundle", run, tags={"bundle": "1"})
    return run


def recorded(client, run):
    """All that a reader finds of a whole run, ids and times apart."""
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    child = children[0]
    curve = [(m.step, m.value) for m in client.get_metric_history(child.info.run_id, "loss")]
    models = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    return {
        "names": [run.info.run_name, *(c.info.run_name for c in children)],
        "status": [run.info.status, child.info.status],
        "params": run.data.params,
        "tags": {run.data.tags["git"], run.data.tags["data"]},
        "metrics": {name: str(value) for name, value in child.data.metrics.items()},
        "curve": curve,
        "files": sorted(file.path for file in client.list_artifacts(run.info.run_id, "report")),
        "models": [(model.name, model.tags) for model in models],
        "bundle": sorted(file.path for file in client.list_artifacts(run.info.run_id, "model/bundle")),
    }


def client_of(workspace):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri(workspace), registry_uri=tracking_uri(workspace))


def runs_named(client, name, experiment="shop"):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], f"attributes.run_name = '{name}'")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What is recorded when nothing goes wrong; and the database it is recorded in, to be copied."""
    workspace = tmp_path_factory.mktemp("expected")
    run = whole_run(MlflowTracker(workspace, experiment="shop"), workspace / "files")
    client = client_of(workspace)
    assert waiting(workspace) == []
    return recorded(client, client.get_run(run.run_id)), workspace


@pytest.fixture
def made(expected, tmp_path):
    """A workspace whose database has its tables."""
    shutil.copytree(expected[1], tmp_path / "made")
    for name in ("mlruns", "files"):
        shutil.rmtree(tmp_path / "made" / name)
    return tmp_path / "made"


def test_a_database_that_cannot_be_opened_costs_no_run_and_gets_everything_later(made, expected, said, tmp_path):
    database = made / "mlflow.db"
    database.rename(made / "away.db")
    database.mkdir()
    run = whole_run(MlflowTracker(made, experiment="shop", say=said.append), tmp_path / "files")
    shutil.rmtree(tmp_path / "files")
    assert len(said) == 1
    assert said[0].startswith(f"tracking: could not record run pipeline at sqlite:///{made}/mlflow.db (")
    assert said[0].endswith("); the run goes on, and what is missing is sent later")
    assert run.run_id.endswith("/0")
    assert len(waiting(made)) == 1

    still_down = []
    MlflowTracker(made, experiment="shop", say=still_down.append).send_leftovers()
    assert still_down[0].endswith(f"what runs recorded waits in {made / SPOOL} and is sent with the next run")

    database.rmdir()
    (made / "away.db").rename(database)
    MlflowTracker(made, experiment="shop").send_leftovers()
    assert waiting(made) == []
    client = client_of(made)
    newest = max(runs_named(client, "pipeline"), key=lambda found: found.info.start_time)
    assert recorded(client, newest) == expected[0]


def test_a_locked_database_costs_no_run(made, expected, said, tmp_path, monkeypatch):
    holder = sqlite3.connect(made / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("recsys.tracking.sender._PATIENCE", 0.1)
    run = whole_run(MlflowTracker(made, experiment="shop", say=said.append), tmp_path / "files")
    assert "database is locked" in said[0]
    assert len(waiting(made)) == 1
    holder.execute("ROLLBACK")
    holder.close()
    MlflowTracker(made, experiment="shop").send_leftovers()
    client = client_of(made)
    newest = max(runs_named(client, "pipeline"), key=lambda found: found.info.start_time)
    assert newest.info.run_id != run.run_id
    assert recorded(client, newest) == expected[0]


LOSES = """
    import sys
    from pathlib import Path
    from recsys.tracking.mlflow import MlflowTracker
    workspace = Path(sys.argv[1])
    tracker = MlflowTracker(workspace, experiment="shop", say=print)
    run = tracker.start("lost", params={"seed": 3})
    run.metric("loss", 0.5, 0)
    (workspace / "mlflow.db").unlink()
    run.metric("loss", 0.25, 1)
    run.end()
"""


def test_a_database_lost_in_the_middle_is_made_again_with_all_of_the_run(made):
    command = [sys.executable, "-c", textwrap.dedent(LOSES), str(made)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.count("tracking: ") == 1
    assert "could not record metric loss" in told
    MlflowTracker(made, experiment="shop").send_leftovers()
    assert waiting(made) == []
    client = client_of(made)
    found = runs_named(client, "lost")
    assert [(run.info.status, run.data.params) for run in found] == [("FINISHED", {"seed": "3"})]
    assert [m.value for m in client.get_metric_history(found[0].info.run_id, "loss")] == [0.5, 0.25]


def test_a_server_that_is_down_costs_no_run_and_no_password_is_shown(tmp_path, monkeypatch, said):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MlflowTracker(tmp_path, experiment="shop", uri="http://me:secret@127.0.0.1:9", say=said.append)
    whole_run(tracker, tmp_path / "files")
    assert said[0].startswith("tracking: could not record run pipeline at http://127.0.0.1:9 (")
    assert "secret" not in "".join(said)
    assert not (tmp_path / "mlruns").exists()
    assert len(waiting(tmp_path)) == 1
    kept = [path.name for path in waiting(tmp_path)[0].rglob("*") if path.is_file()]
    assert sorted(kept) == [".lock", "entries.jsonl", "manifest.json", "report.txt"]


@contextmanager
def server_on(port, folder):
    """A real tracking server, until the block ends."""
    where = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "files")]
    command = [sys.executable, "-m", "mlflow", "server", *where, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            for _ in range(240):
                with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                    break
                time.sleep(0.25)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.slow
def test_a_server_that_comes_back_gets_everything(tmp_path, monkeypatch, said, expected):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    whole_run(MlflowTracker(tmp_path / "workspace", experiment="shop", uri=uri, say=said.append), tmp_path / "files")
    assert len(said) == 1
    shutil.rmtree(tmp_path / "files")
    (tmp_path / "server").mkdir()
    with server_on(port, tmp_path / "server"):
        MlflowTracker(tmp_path / "workspace", experiment="shop", uri=uri).send_leftovers()
        assert waiting(tmp_path / "workspace") == []
        from mlflow.tracking import MlflowClient

        client = MlflowClient(uri, registry_uri=uri)
        assert recorded(client, runs_named(client, "pipeline")[0]) == expected[0]


KILLED = """
    import os, sys
    from pathlib import Path
    from recsys.tracking.mlflow import MlflowTracker
    tracker = MlflowTracker(Path(sys.argv[1]), experiment="shop")
    run = tracker.start("killed")
    stage = tracker.start("stage", nested=True)
    stage.metric("loss", 0.5, 0)
    os.kill(os.getpid(), 9)
"""


def test_runs_of_a_killed_process_are_closed_by_the_next(made):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(made)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    client = client_of(made)
    assert [run.info.status for run in runs_named(client, "killed")] == ["RUNNING"]
    with (waiting(made)[0] / "entries.jsonl").open("a") as file:
        file.write('{"do": "metrics", "run": 1, "val')
    MlflowTracker(made, experiment="shop").send_leftovers()
    assert [run.info.status for run in runs_named(client, "killed")] == ["KILLED"]
    stage = runs_named(client, "stage")[0]
    assert (stage.info.status, stage.data.metrics) == ("KILLED", {"loss": 0.5})
    assert len(client.get_metric_history(stage.info.run_id, "loss")) == 1, "sent twice, recorded once"
    assert waiting(made) == []


def test_a_journal_in_use_is_left_to_its_process(made):
    tracker = MlflowTracker(made, experiment="shop")
    run = tracker.start("alive")
    MlflowTracker(made, experiment="shop").send_leftovers()
    assert client_of(made).get_run(run.run_id).info.status == "RUNNING"
    run.metric("loss", 1.0)
    run.end()
    assert client_of(made).get_run(run.run_id).info.status == "FINISHED"
    with pytest.raises(RuntimeError, match="the run has ended; nothing can be recorded any more"):
        run.metric("loss", 1.0)


def _record(workspace, number):
    with MlflowTracker(workspace, experiment="race").start(f"run {number}") as run:
        run.metric("loss", number)


@pytest.mark.slow
def test_two_processes_that_start_together_make_one_database(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_record, args=(tmp_path, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def test_recording_prints_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from recsys.tracking.registry import make_tracker; "
        "tracker = make_tracker('mlflow', Path(sys.argv[1]), experiment='e'); "
        "run = tracker.start('r', params={'a': 1}); run.metric('m', 1.0, 0); run.end(); "
        "import os; print(os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("true\n", "")


def test_mlflow_is_imported_by_the_first_run_only():
    code = "import sys; import recsys.tracking.mlflow, recsys.tracking.registry; print('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_null_tracker_takes_everything_and_keeps_nothing(tmp_path):
    tracker = make_tracker("none", tmp_path, experiment="shop")
    assert isinstance(tracker, NullTracker)
    with tracker.start("a", params={"x": 1}, tags={"y": "z"}) as run, tracker.start("b", nested=True) as nested:
        run.params({"p": 1})
        run.metric("loss", 1.0, step=2)
        run.metrics({"m": 1.0})
        run.tags({"t": "u"})
        nested.artifact(tmp_path)
        assert run.run_id is None
        assert tracker.register_model("shop", tmp_path, run) is None
    run.end()
    tracker.send_leftovers()
    assert list(tmp_path.iterdir()) == []


def test_mlflow_wanted_and_not_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"tracking.kind: mlflow is not installed; pip install 'recsys\[train\]', or set"
    ):
        make_tracker("mlflow", tmp_path, experiment="shop")


def test_the_registry_hands_its_words_on(workspace, said):
    tracker = make_tracker("mlflow", workspace, experiment="shop", say=said.append)
    assert isinstance(tracker, MlflowTracker)
    assert tracker.uri == f"sqlite:///{workspace}/mlflow.db"
    assert make_tracker("mlflow", workspace, experiment="s", uri="http://x").uri == "http://x"


def test_ui_command_shows_the_workspace(tracker, workspace):
    with tracker.start("seen"):
        pass
    command = ui_command(workspace, host="127.0.0.1", port=5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "server"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options == {
        "--backend-store-uri": f"sqlite:///{workspace}/mlflow.db",
        "--registry-store-uri": f"sqlite:///{workspace}/mlflow.db",
        "--default-artifact-root": f"{workspace}/mlruns",
        "--host": "127.0.0.1",
        "--port": "5001",
        "--workers": "1",
    }
    assert os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert ui_address("127.0.0.1", 5001) == "http://127.0.0.1:5001/#/experiments?workflowType=machine_learning"


def test_ui_needs_a_database(tmp_path):
    with pytest.raises(InputError, match="no tracked run yet; start one: recsys run CONFIG"):
        ui_command(tmp_path)
    with pytest.raises(InputError, match=r"tracking\.uri: https://host is a server; open that address in a browser"):
        ui_command(tmp_path, uri="https://me:secret@host")
    assert not (tmp_path / "mlflow.db").exists()
