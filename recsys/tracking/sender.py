"""Carries what journals hold to MLflow: the only module that calls it.

mlflow takes seconds to import, so it is imported when the first entry is sent. It is used through its client alone: the
fluent interface keeps the current run in a global, where two runs of one process meet.
"""

import json
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock

from recsys.tracking.base import EndStatus
from recsys.tracking.journal import Journal
from recsys.tracking.keys import MAX_KEY, key_of

__all__ = ["RefusedKeys", "Sender", "connect", "is_server", "quiet", "refused"]

# Read by mlflow when it is imported, here and in the process of the UI. Its own seven retries keep a run waiting for
# minutes; its server would start seven more processes for jobs that are never sent.
for _setting, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}.items():
    os.environ.setdefault(_setting, _value)

_Kind = Literal["params", "tags", "metrics"]
_LONGEST: dict[_Kind, int] = {"params": 6000, "tags": 5000}
"""Characters of a value that MLflow takes; of a tag some versions take more."""
_WHOLE = "whole"
"""Folder of a run's artifacts with the values that were cut or refused."""
_NAMED = 3
"""Refused keys that a message names."""
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
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the UI's pages on runs and metrics rather than those on language models."""
_MODEL = "model"
_BUNDLE = "bundle"
_STATUS: dict[EndStatus, str] = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class RefusedKeys(Exception):  # noqa: N818  MLflow's refusals, gathered
    """MLflow took all of an entry but some of its keys.

    Args:
        refusals: why, by name.
        total: names of the entry.
    """

    def __init__(self, refusals: Mapping[str, Exception], total: int) -> None:
        first = next(iter(refusals.values()))
        some = ", ".join(list(refusals)[:_NAMED]) + (", …" if len(refusals) > _NAMED else "")
        super().__init__(f"{len(refusals)} of {total} refused: {some}: {first}")


class Sender:
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
            case "params" | "tags" as kind:
                self._texts(run_id, kind, entry["values"], f"{_WHOLE}/{kind}-{position}.json")
            case "metrics":
                self._metrics(run_id, entry)
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
                if not refused(error):
                    raise
        ended = {entry["run"] for entry in journal.entries if entry["do"] == "end"}
        for position in started:
            if position not in ended and position in journal.answers:
                self._client.set_terminated(journal.answers[position], _STATUS["killed"])

    def _exists(self, run_id: str) -> bool:
        try:
            self._client.get_run(run_id)
        except Exception as error:
            if refused(error):
                return False
            raise
        return True

    def _start(self, journal: Journal, entry: Mapping[str, Any]) -> str:
        parent = {} if entry["parent"] is None else {"mlflow.parentRunId": journal.answers[entry["parent"]]}
        made = self._client.create_run(self._experiment_id, entry["at"], {**entry["tags"], **parent}, entry["name"])
        return str(made.info.run_id)

    def _texts(self, run_id: str, kind: Literal["params", "tags"], values: Mapping[str, str], whole: str) -> None:
        from mlflow.entities import Param, RunTag

        make, longest = Param if kind == "params" else RunTag, _LONGEST[kind]
        items = {name: make(key_of(name), _cut(value, longest, whole)) for name, value in values.items()}
        refusals = self._log(run_id, kind, items)
        lost = {name: value for name, value in values.items() if name in refusals or _is_cut(name, value, longest)}
        if lost:
            self._client.log_text(run_id, json.dumps(lost, ensure_ascii=False, indent=1), whole)
        if refusals:
            raise RefusedKeys(refusals, len(items))

    def _metrics(self, run_id: str, entry: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        values = entry["values"].items()
        items = {name: Metric(key_of(name), float(value), entry["at"], entry["step"]) for name, value in values}
        refusals = self._log(run_id, "metrics", items)
        if refusals:
            raise RefusedKeys(refusals, len(items))

    def _log(self, run_id: str, kind: _Kind, items: Mapping[str, object]) -> dict[str, Exception]:
        """Sends entities by name, together where MLflow takes them so, else one by one; returns those it refused."""
        refusals: dict[str, Exception] = {}
        names = list(items)
        for some in (names[start : start + _BATCH] for start in range(0, len(names), _BATCH)):
            if self._refusal(run_id, kind, [items[name] for name in some]) is None:
                continue
            for name in some:
                refusal = self._refusal(run_id, kind, [items[name]])
                if refusal is not None:
                    refusals[name] = refusal
        return refusals

    def _refusal(self, run_id: str, kind: _Kind, entities: Sequence[object]) -> Exception | None:
        """Sends entities; returns why MLflow refused them, and raises what may pass."""
        try:
            self._client.log_batch(run_id, **{kind: entities})
        except Exception as error:
            if refused(error):
                return error
            raise
        return None

    def _model(self, run_id: str, entry: Mapping[str, Any], folder: Path) -> str:
        self._client.log_artifacts(run_id, str(folder), f"{_MODEL}/{_BUNDLE}")
        # Beside the bundle, not in it: a bundle with a file that its manifest does not list is a damaged one.
        self._client.log_text(run_id, _mlmodel(run_id), f"{_MODEL}/MLmodel")
        self._make_model(entry["name"])
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{_MODEL}"
        version = self._client.create_model_version(entry["name"], source, run_id=run_id, tags=entry["tags"])
        return str(version.version)

    def _make_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def connect(uri: str, workspace: Path, experiment: str) -> Sender:
    """A sender to an experiment, which is made when missing; raises whatever keeps it from being reached."""
    client_class = _client_class()
    if is_server(uri):
        client = client_class(tracking_uri=uri, registry_uri=uri)
        return Sender(client, _find_experiment(client, experiment, None))
    # Two processes that make the tables at once leave a database that neither can open.
    workspace.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace / "mlflow.lock"):
        _probe(uri)
        client = client_class(tracking_uri=uri, registry_uri=uri)
        return Sender(client, _find_experiment(client, experiment, str((workspace / "mlruns").resolve())))


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


def refused(error: Exception) -> bool:
    """Whether MLflow understood and said no, or a file is gone: the same again would fail again."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in _REFUSALS
    return isinstance(error, FileNotFoundError | KeyError | RefusedKeys)


def is_server(uri: str) -> bool:
    """Whether runs go over the network, not into a database and files of our own."""
    return uri.startswith(("http://", "https://", "databricks"))


def _client_class() -> Any:  # noqa: ANN401
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings of mlflow's own dependencies are of no use to who runs a pipeline."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _mlmodel(run_id: str) -> str:
    """What MLflow reads to show a model; the flavour names the bundle and holds no code to run."""
    model = {
        "artifact_path": _MODEL,
        "flavors": {"recsys": {"bundle": _BUNDLE}},
        "run_id": run_id,
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    return str(yaml.safe_dump(model))


def _is_cut(name: str, value: str, longest: int) -> bool:
    return len(value) > longest or len(key_of(name)) == MAX_KEY


def _cut(text: str, length: int, whole: str) -> str:
    """The text, or its beginning and where the whole of it is."""
    end = f" … (cut; see artifact {whole})"
    return text if len(text) <= length else text[: length - len(end)] + end
