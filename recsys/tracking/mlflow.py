"""Runs in MLflow: SQLite and files inside the workspace, or a server of the user's.

mlflow takes seconds to import, so it is imported when the first run starts. It is used through its client alone: the
fluent interface keeps the current run in a global, where two runs of one process meet.
"""

import getpass
import logging
import math
import os
import re
import sqlite3
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

from recsys.errors import InputError
from recsys.tracking.base import EndStatus, Run, status_of
from recsys.tracking.journal import Journal, leftover_journals

__all__ = ["SPOOL", "MlflowRun", "MlflowTracker", "tracking_uri", "ui_address", "ui_command"]

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

SPOOL = "tracking-spool"
"""Folder of the workspace with the journals that wait to be sent."""
_ILLEGAL = re.compile(r"[^\w\-. :/]")
_MAX_KEY, _MAX_VALUE, _MAX_TAG = 250, 6000, 8000
_MAX_REASON = 300
_BATCH = 100
_SQLITE = "sqlite:///"
_PATIENCE = 5.0
"""Seconds to wait for another process that holds the database."""
_REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
_CUT = " … (cut)"
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the UI's pages on runs and metrics rather than those on language models."""
_MODEL = "model"
_BUNDLE = "bundle"
_STATUS: dict[EndStatus, str] = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class MlflowTracker:
    """See `recsys.tracking.base.Tracker`.

    All that runs say goes to a journal in the workspace first and is sent on at once. When MLflow cannot be reached,
    its database is locked or its server is down, the run goes on: the journal is kept, and sent when the run ends or
    with a later run of the same workspace. Runs whose process was killed are closed then, too.

    Args:
        workspace: holds `mlflow.db`, `mlruns/` and journals that wait to be sent.
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
        self._spool = workspace / SPOOL
        self._experiment = experiment
        self._say = say or _log.warning
        self._said = False
        self._sender: _Sender | None = None
        self._journal: Journal | None = None
        self._behind = False
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
        if self._journal is None:
            self._journal = Journal.begin(self._spool)
        parent = self._open[-1].position if nested and self._open else None
        entry = {"do": "start", "name": name, "tags": {**_about(), **(tags or {})}, "parent": parent, "at": _now()}
        run = MlflowRun(self, self._tell(f"run {name}", entry))
        self._open.append(run)
        run.params(params or {})
        return run

    def register_model(self, name: str, folder: Path, run: Run, *, tags: Mapping[str, str] | None = None) -> str | None:
        """See `Tracker.register_model`."""
        if not isinstance(run, MlflowRun) or self._journal is None:
            return None
        entry = {"do": "model", "run": run.position, "name": name, "path": str(folder.resolve()), "tags": tags or {}}
        return self._journal.answers.get(self._tell(f"model {name}", entry))

    def send_leftovers(self) -> None:
        """See `Tracker.send_leftovers`."""
        if leftover_journals(self._spool):
            self._flush()

    def id_of(self, run: "MlflowRun") -> str:
        """MLflow's id of a run, or a name for it until it has one."""
        journal = self._journal
        return "" if journal is None else journal.answers.get(run.position, f"{journal.name}/{run.position}")

    def tell(self, run: "MlflowRun", what: str, entry: Mapping[str, Any]) -> None:
        """Records something about an open run."""
        self._tell(what, {**entry, "run": run.position})

    def closed(self, run: "MlflowRun") -> None:
        """The run has ended and is nobody's parent any more; with the last one, the journal has done its work."""
        self._open = [other for other in self._open if other is not run]
        if self._open or self._journal is None:
            return
        journal, self._journal = self._journal, None
        if not self._behind:
            journal.remove()
            return
        journal.close()
        self._behind = False
        self._flush()

    def _tell(self, what: str, entry: Mapping[str, Any]) -> int:
        journal = self._journal
        if journal is None:
            raise RuntimeError("the run has ended; nothing can be recorded any more")
        position = journal.append(entry)
        if not self._behind:
            self._try(what, position, journal)
        if self._behind and "path" in entry:
            journal.keep(position)
        return position

    def _try(self, what: str, position: int, journal: Journal) -> None:
        """A tracker in trouble must not cost the run its results, whatever the trouble is."""
        try:
            with _quiet():
                self._connected().send(journal, position)
        except Exception as error:
            # What MLflow refuses it would refuse again; anything else may pass.
            self._behind = self._sender is None or not _refused(error)
            then = "the run goes on, and what is missing is sent later" if self._behind else "the run goes on"
            self._tell_user(f"tracking: could not record {what} at {_shown(self.uri)} ({_first_line(error)}); {then}")

    def _flush(self) -> None:
        """Sends all journals, the oldest first, and stops at the first that cannot be sent."""
        for folder in leftover_journals(self._spool):
            journal = Journal.open(folder)
            if journal is None:
                continue
            try:
                with _quiet():
                    self._connected().send_all(journal)
            except Exception as error:
                journal.close()
                self._tell_user(
                    f"tracking: {_shown(self.uri)} cannot be reached ({_first_line(error)}); "
                    f"what runs recorded waits in {self._spool} and is sent with the next run"
                )
                return
            journal.remove()

    def _tell_user(self, text: str) -> None:
        if not self._said:
            self._said = True
            self._say(text)

    def _connected(self) -> "_Sender":
        if self._sender is None:
            self._sender = _connect(self.uri, self._workspace, self._experiment)
        return self._sender


class MlflowRun:
    """See `recsys.tracking.base.Run`."""

    def __init__(self, tracker: MlflowTracker, position: int) -> None:
        self.position = position
        self._tracker = tracker
        self._id = tracker.id_of(self)

    @property
    def run_id(self) -> str:
        """See `Run.run_id`."""
        return self._id

    def params(self, values: Mapping[str, object]) -> None:
        """See `Run.params`."""
        if values:
            words = {name: str(value) for name, value in values.items()}
            self._tracker.tell(self, "settings", {"do": "params", "values": words})

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """See `Run.metric`."""
        entry = {"do": "metrics", "values": {name: _number(value)}, "step": step or 0, "at": _now()}
        self._tracker.tell(self, f"metric {name}", entry)

    def metrics(self, values: Mapping[str, float]) -> None:
        """See `Run.metrics`."""
        numbers = {name: _number(value) for name, value in values.items()}
        self._tracker.tell(self, "metrics", {"do": "metrics", "values": numbers, "step": 0, "at": _now()})

    def tags(self, values: Mapping[str, str]) -> None:
        """See `Run.tags`."""
        self._tracker.tell(self, "tags", {"do": "tags", "values": {name: str(v) for name, v in values.items()}})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """See `Run.artifact`."""
        entry = {"do": "artifact", "path": str(path.resolve()), "folder": folder}
        self._tracker.tell(self, f"artifact {path.name}", entry)

    def end(self, status: EndStatus = "finished") -> None:
        """See `Run.end`."""
        if not self._ended:
            self._ended = True
            self._tracker.tell(self, "the end of a run", {"do": "end", "status": status, "at": _now()})
            self._tracker.closed(self)

    _ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(status_of(kind))


class _Sender:
    """Carries entries of journals to MLflow. Entries other than starts and models may be sent twice without harm."""

    def __init__(self, client: Any, experiment_id: str) -> None:  # noqa: ANN401
        self._client = client
        self._experiment_id = experiment_id

    def send(self, journal: Journal, position: int) -> None:
        """Sends one entry of a journal whose earlier entries have been sent."""
        entry = journal.entries[position]
        if entry["do"] == "start":
            journal.answer(position, self._start(journal, entry))
            return
        run_id = journal.answers[entry["run"]]
        match entry["do"]:
            case "params":
                self._params(run_id, entry["values"])
            case "metrics":
                self._metrics(run_id, entry)
            case "tags":
                for name, value in _words(entry["values"]).items():
                    self._client.set_tag(run_id, name, value)
            case "artifact":
                path = journal.file(position)
                send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
                send(run_id, str(path), entry["folder"])
            case "model":
                journal.answer(position, self._model(run_id, entry, journal.file(position)))
            case "end":
                self._client.set_terminated(run_id, _STATUS[entry["status"]], entry["at"])

    def send_all(self, journal: Journal) -> None:
        """Sends what may be missing of a journal, and closes the runs that its process left open."""
        started = [i for i, entry in enumerate(journal.entries) if entry["do"] == "start"]
        for position, entry in enumerate(journal.entries):
            known = journal.answers.get(position)
            if known is not None and (entry["do"] == "model" or self._exists(known)):
                continue
            try:
                self.send(journal, position)
            except Exception as error:
                if not _refused(error):
                    raise
        ended = {entry["run"] for entry in journal.entries if entry["do"] == "end"}
        for position in started:
            if position not in ended and position in journal.answers:
                self._client.set_terminated(journal.answers[position], _STATUS["killed"])

    def _exists(self, run_id: str) -> bool:
        try:
            self._client.get_run(run_id)
        except Exception as error:
            if _refused(error):
                return False
            raise
        return True

    def _start(self, journal: Journal, entry: Mapping[str, Any]) -> str:
        parent = {} if entry["parent"] is None else {"mlflow.parentRunId": journal.answers[entry["parent"]]}
        tags = _words({**entry["tags"], **parent})
        made = self._client.create_run(self._experiment_id, entry["at"], tags, entry["name"])
        return str(made.info.run_id)

    def _params(self, run_id: str, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        items = [Param(_name(name), _cut(value, _MAX_VALUE)) for name, value in values.items()]
        for start in range(0, len(items), _BATCH):
            self._client.log_batch(run_id, params=items[start : start + _BATCH])

    def _metrics(self, run_id: str, entry: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        values = entry["values"].items()
        items = [Metric(_name(name), float(value), entry["at"], entry["step"]) for name, value in values]
        for start in range(0, len(items), _BATCH):
            self._client.log_batch(run_id, metrics=items[start : start + _BATCH])

    def _model(self, run_id: str, entry: Mapping[str, Any], folder: Path) -> str:
        self._client.log_artifacts(run_id, str(folder), f"{_MODEL}/{_BUNDLE}")
        # Beside the bundle, not in it: a bundle with a file that its manifest does not list is a damaged one.
        self._client.log_text(run_id, _mlmodel(run_id), f"{_MODEL}/MLmodel")
        self._make_model(entry["name"])
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{_MODEL}"
        version = self._client.create_model_version(entry["name"], source, run_id=run_id, tags=_words(entry["tags"]))
        return str(version.version)

    def _make_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _connect(uri: str, workspace: Path, experiment: str) -> _Sender:
    client_class = _client_class()
    if _is_server(uri):
        client = client_class(tracking_uri=uri, registry_uri=uri)
        return _Sender(client, _find_experiment(client, experiment, None))
    # Two processes that make the tables at once leave a database that neither can open.
    workspace.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace / "mlflow.lock"):
        _probe(uri)
        client = client_class(tracking_uri=uri, registry_uri=uri)
        return _Sender(client, _find_experiment(client, experiment, str((workspace / "mlruns").resolve())))


def _probe(uri: str) -> None:
    """Raises at once where a SQLite database cannot be written: MLflow would try to open it for minutes."""
    if not uri.startswith(_SQLITE):
        return
    database = sqlite3.connect(uri.removeprefix(_SQLITE), timeout=_PATIENCE, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")
    finally:
        database.close()


def _find_experiment(client: Any, name: str, artifacts: str | None) -> str:  # noqa: ANN401
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=artifacts, tags=_KIND))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _refused(error: Exception) -> bool:
    """Whether MLflow understood and said no, or a file is gone: the same again would fail again."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in _REFUSALS
    return isinstance(error, FileNotFoundError | KeyError)


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


def _now() -> int:
    """Milliseconds, as MLflow counts."""
    return time.time_ns() // 1_000_000


def _number(value: float) -> float | str:
    """A number that JSON can hold."""
    return float(value) if math.isfinite(value) else str(float(value))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - len(_CUT)] + _CUT


def _first_line(error: Exception) -> str:
    lines = _shown(str(error)).strip().splitlines()
    return lines[0][:_MAX_REASON] if lines else type(error).__name__
