"""Runs in MLflow: SQLite and files inside the workspace, or a server of the user's.

mlflow takes seconds to import, so it is imported when the first run starts. It is used through its client alone: the
fluent interface keeps the current run in a global, where two runs of one process meet.
"""

import getpass
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from filelock import FileLock

from recsys.errors import InputError, WorkspaceError
from recsys.tracking.base import EndStatus, Run, status_of
from recsys.tracking.null import NullRun

__all__ = ["MlflowRun", "MlflowTracker", "tracking_uri", "ui_address", "ui_command"]

# Read by mlflow when it is imported, here and in the process of the UI. Its own seven retries keep a run waiting for
# minutes; its server would start seven more processes for jobs that are never sent.
for _setting, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}.items():
    os.environ.setdefault(_setting, _value)

_log = logging.getLogger(__name__)

_ILLEGAL = re.compile(r"[^\w\-. :/]")
_MAX_KEY, _MAX_VALUE, _MAX_TAG = 250, 6000, 8000
_MAX_REASON = 300
_BATCH = 100
_CUT = " … (cut)"
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the UI's pages on runs and metrics rather than those on language models."""
_MODEL = "model"
_BUNDLE = "bundle"
_STATUS: dict[EndStatus, str] = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class MlflowTracker:
    """See `recsys.tracking.base.Tracker`.

    Args:
        workspace: holds `mlflow.db` and `mlruns/`.
        experiment: runs are grouped by; made when missing.
        uri: of a server or database; `None` is SQLite inside the workspace.
        say: told once when something could not be recorded; `None` logs a warning.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        experiment: str,
        uri: str | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.uri = tracking_uri(workspace, uri)
        self._workspace = workspace
        self._experiment = experiment
        self._say = say or _log.warning
        self._said = False
        self._client: Any = None
        self._experiment_id = ""
        self._open: list[MlflowRun] = []

    def start(
        self,
        name: str,
        *,
        nested: bool = False,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Run:
        """See `Tracker.start`."""
        try:
            with _quiet():
                run = self._start(name, {**_about(), **self._parent(nested), **(tags or {})})
        except Exception as error:
            if nested:
                self.failed(f"run {name}", error)
                return NullRun()
            raise WorkspaceError(
                f"tracking: no run can be recorded at {_shown(self.uri)} ({_first_line(error)}); "
                "make it reachable and writable, or set tracking.kind: none"
            ) from error
        run.params(params or {})
        return run

    def register_model(self, name: str, folder: Path, run: Run, *, tags: Mapping[str, str] | None = None) -> str | None:
        """See `Tracker.register_model`."""
        if run.run_id is None:
            return None
        try:
            with _quiet():
                return self._register(name, folder, run.run_id, tags or {})
        except Exception as error:
            self.failed(f"model {name}", error)
            return None

    def failed(self, what: str, error: Exception) -> None:
        """Says once that something was not recorded."""
        if not self._said:
            self._said = True
            self._say(
                f"tracking: could not record {what} at {_shown(self.uri)} ({_first_line(error)}); "
                "the run goes on, and further failures are not reported"
            )

    def closed(self, run: "MlflowRun") -> None:
        """The run has ended and is nobody's parent any more."""
        if run in self._open:
            self._open.remove(run)

    def _start(self, name: str, tags: Mapping[str, str]) -> "MlflowRun":
        if self._client is None:
            self._client, self._experiment_id = self._connect()
        made = self._client.create_run(self._experiment_id, run_name=name, tags=_words(tags))
        run = MlflowRun(self, self._client, made.info.run_id)
        self._open.append(run)
        return run

    def _parent(self, nested: bool) -> dict[str, str]:
        return {"mlflow.parentRunId": self._open[-1].run_id} if nested and self._open else {}

    def _connect(self) -> tuple[Any, str]:
        """The client and the id of the experiment."""
        client_class = _client_class()
        if _is_server(self.uri):
            client = client_class(tracking_uri=self.uri, registry_uri=self.uri)
            return client, self._find_experiment(client, None)
        # Two processes that make the tables at once leave a database that neither can open.
        self._workspace.mkdir(parents=True, exist_ok=True)
        with FileLock(self._workspace / "mlflow.lock"):
            client = client_class(tracking_uri=self.uri, registry_uri=self.uri)
            return client, self._find_experiment(client, str((self._workspace / "mlruns").resolve()))

    def _find_experiment(self, client: Any, artifacts: str | None) -> str:  # noqa: ANN401
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            return str(client.create_experiment(self._experiment, artifact_location=artifacts, tags=_KIND))
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _register(self, name: str, folder: Path, run_id: str, tags: Mapping[str, str]) -> str:
        self._client.log_artifacts(run_id, str(folder), f"{_MODEL}/{_BUNDLE}")
        # Beside the bundle, not in it: a bundle with a file that its manifest does not list is a damaged one.
        self._client.log_text(run_id, _mlmodel(run_id), f"{_MODEL}/MLmodel")
        self._make_model(name)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{_MODEL}"
        version = self._client.create_model_version(name, source, run_id=run_id, tags=_words(tags))
        return str(version.version)

    def _make_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


class MlflowRun:
    """See `recsys.tracking.base.Run`."""

    def __init__(self, tracker: MlflowTracker, client: Any, run_id: str) -> None:  # noqa: ANN401
        self.run_id: str = run_id
        self._tracker = tracker
        self._client = client
        self._ended = False

    def params(self, values: Mapping[str, object]) -> None:
        """See `Run.params`."""
        from mlflow.entities import Param

        items = [Param(_name(name), _cut(str(value), _MAX_VALUE)) for name, value in values.items()]
        for start in range(0, len(items), _BATCH):
            self._try("settings", "log_batch", params=items[start : start + _BATCH])

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """See `Run.metric`."""
        self._try(f"metric {name}", "log_metric", _name(name), float(value), step=step)

    def metrics(self, values: Mapping[str, float]) -> None:
        """See `Run.metrics`."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        items = [Metric(_name(name), float(value), now, 0) for name, value in values.items()]
        for start in range(0, len(items), _BATCH):
            self._try("metrics", "log_batch", metrics=items[start : start + _BATCH])

    def tags(self, values: Mapping[str, str]) -> None:
        """See `Run.tags`."""
        for name, value in _words(values).items():
            self._try(f"tag {name}", "set_tag", name, value)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """See `Run.artifact`."""
        self._try(f"artifact {path.name}", "log_artifacts" if path.is_dir() else "log_artifact", str(path), folder)

    def end(self, status: EndStatus = "finished") -> None:
        """See `Run.end`."""
        if not self._ended:
            self._ended = True
            self._try("the end of a run", "set_terminated", status=_STATUS[status])
            self._tracker.closed(self)

    def _try(self, what: str, method: str, *args: object, **more: object) -> None:
        """Calls the client; a tracker in trouble must not cost the run its results, whatever the trouble is."""
        try:
            with _quiet():
                getattr(self._client, method)(self.run_id, *args, **more)
        except Exception as error:
            self._tracker.failed(what, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(status_of(kind))


def tracking_uri(workspace: Path, uri: str | None = None) -> str:
    """The URI itself, or that of the SQLite database inside the workspace."""
    return uri or f"sqlite:///{(workspace / 'mlflow.db').resolve().as_posix()}"


def ui_command(workspace: Path, *, uri: str | None = None, host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """The command that shows the runs of a workspace in a browser.

    Args:
        workspace: where runs are recorded.
        uri: of a database elsewhere; `None` is the workspace's own.
        host: address to listen on.
        port: to listen on.

    Raises:
        InputError: there is no database yet, or the runs are on a server, which has its own UI.
    """
    if uri is not None and _is_server(uri):
        raise InputError(f"tracking.uri: {_shown(uri)} is a server; open that address in a browser")
    if uri is None and not (workspace / "mlflow.db").is_file():
        raise InputError(f"{workspace}: no tracked run yet; start one: recsys run CONFIG")
    where = ["--backend-store-uri", tracking_uri(workspace, uri), "--registry-store-uri", tracking_uri(workspace, uri)]
    artifacts = ["--default-artifact-root", str((workspace / "mlruns").resolve())]
    listen = ["--host", host, "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *where, *artifacts, *listen]


def ui_address(host: str, port: int) -> str:
    """Where the browser finds the experiments; without the last part MLflow opens its pages on language models."""
    return f"http://{host}:{port}/#/experiments?workflowType=machine_learning"


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://", "databricks"))


def _shown(uri: str) -> str:
    """The URI without a user's name and password."""
    return re.sub(r"(?<=//)[^/@]+@", "", uri)


def _client_class() -> Any:  # noqa: ANN401
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of mlflow's own dependencies are of no use to who runs a pipeline."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _about() -> dict[str, str]:
    """Tags that the UI shows as columns."""
    tags = {"mlflow.source.name": "recsys", "mlflow.source.type": "LOCAL"}
    # A container may run as a user without a name.
    with suppress(OSError, KeyError):
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _mlmodel(run_id: str) -> str:
    """What MLflow reads to show a model; the flavour names the bundle and holds no code to run."""
    model = {
        "artifact_path": _MODEL,
        "flavors": {"recsys": {"bundle": _BUNDLE}},
        "run_id": run_id,
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    return str(yaml.safe_dump(model))


def _name(text: str) -> str:
    """A name that MLflow takes: `funnel/ndcg@10` is `funnel/ndcg_at_10` there."""
    return _ILLEGAL.sub("_", text.replace("@", "_at_"))[:_MAX_KEY]


def _words(tags: Mapping[str, str]) -> dict[str, str]:
    return {_name(name): _cut(str(value), _MAX_TAG) for name, value in tags.items()}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - len(_CUT)] + _CUT


def _first_line(error: Exception) -> str:
    lines = _shown(str(error)).strip().splitlines()
    return lines[0][:_MAX_REASON] if lines else type(error).__name__
