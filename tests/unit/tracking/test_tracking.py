import json
import logging
import multiprocessing
import os
import subprocess
import sys
import warnings

import pytest
import yaml

from recsys.errors import InputError, WorkspaceError
from recsys.tracking import registry
from recsys.tracking.mlflow import MlflowTracker, _name, tracking_uri, ui_address, ui_command
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


def test_long_and_strange_words_are_made_to_fit(tracker, client, said):
    with tracker.start("long", tags={"note": "t" * 9000}, params={"a=b": "x" * 7000, "k" * 300: 1}) as run:
        run.metrics({f"m/{i}": i for i in range(250)})
        run.params({f"p{i}": i for i in range(150)})
    found = client.get_run(run.run_id)
    assert found.data.params["a_b"] == "x" * (6000 - 8) + " … (cut)"
    assert found.data.params["k" * 250] == "1"
    assert found.data.tags["note"].endswith(" … (cut)")
    assert len(found.data.metrics) == 250
    assert len(found.data.params) == 152
    assert said == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("funnel/ndcg@10", "funnel/ndcg_at_10"),
        ("slice/history=10-49/funnel/ndcg@10", "slice/history_10-49/funnel/ndcg_at_10"),
        ("route.item_cf/a b:c", "route.item_cf/a b:c"),
        ("ndcg×2", "ndcg_2"),
    ],
)
def test_names_become_names_that_mlflow_takes(name, expected):
    assert _name(name) == expected


def test_a_deleted_experiment_comes_back(workspace, client):
    with MlflowTracker(workspace, experiment="gone").start("first"):
        pass
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with MlflowTracker(workspace, experiment="gone").start("second") as run:
        pass
    assert client.get_run(run.run_id).info.status == "FINISHED"


def test_what_fails_later_is_said_once_and_the_run_goes_on(tracker, client, said, tmp_path):
    with tracker.start("trouble") as run:
        run.params({"seed": 1})
        run.params({"seed": 2})
        run.artifact(tmp_path / "not-there.txt")
        run.metric("loss", 0.5)
        tracker._client.delete_experiment(tracker._experiment_id)
        nested = tracker.start("nested", nested=True)
        nested.metric("loss", 1.0)
        assert nested.run_id is None
        assert tracker.register_model("shop", tmp_path, nested) is None
        tracker._client.restore_experiment(tracker._experiment_id)
        assert tracker.register_model("no/such:name", tmp_path, run) is None
    assert len(said) == 1
    assert said[0].startswith(f"tracking: could not record settings at {tracker.uri} (")
    assert said[0].endswith("the run goes on, and further failures are not reported")
    assert client.get_run(run.run_id).data.metrics == {"loss": 0.5}


def test_without_a_listener_failures_are_logged(workspace, tmp_path, caplog):
    with caplog.at_level(logging.WARNING), MlflowTracker(workspace, experiment="shop").start("quiet") as run:
        run.artifact(tmp_path / "not-there.txt")
    assert [record.message.partition(" at ")[0] for record in caplog.records] == [
        "tracking: could not record artifact not-there.txt"
    ]


def test_a_database_that_cannot_be_made_stops_the_run_at_its_start(tmp_path):
    (tmp_path / "file").write_text("")
    uri = f"sqlite:///{tmp_path}/file/x.db"
    with pytest.raises(WorkspaceError, match="tracking: no run can be recorded at sqlite:///") as caught:
        MlflowTracker(tmp_path, experiment="shop", uri=uri).start("x")
    assert "make it reachable and writable, or set tracking.kind: none" in str(caught.value)


def test_a_server_that_does_not_answer_stops_the_run_and_no_password_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(WorkspaceError) as caught:
        MlflowTracker(tmp_path, experiment="shop", uri="http://me:secret@127.0.0.1:9").start("x")
    assert "no run can be recorded at http://127.0.0.1:9 (" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "mlruns").exists()


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
