"""Runs in MLflow: SQLite and files inside the workspace, or a server of the user's.

Runs write to a journal; `recsys.tracking.sender` carries it to MLflow.
"""

import getpass
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from recsys.errors import InputError
from recsys.tracking.base import EndStatus, Run, status_of
from recsys.tracking.journal import Journal, leftover_journals
from recsys.tracking.sender import Sender, connect, is_server, quiet, refused

__all__ = ["SPOOL", "MlflowRun", "MlflowTracker", "tracking_uri", "ui_address", "ui_command"]

_log = logging.getLogger(__name__)

SPOOL = "tracking-spool"
"""Folder of the workspace with the journals that wait to be sent."""
_MAX_REASON = 300


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
        self._sender: Sender | None = None
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
        entry = {"do": "start", "name": name, "tags": _about(), "parent": parent, "at": _now()}
        run = MlflowRun(self, self._tell(f"run {name}", entry))
        self._open.append(run)
        run.tags(tags or {})
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
            with quiet():
                self._connected().send(journal, position)
        except Exception as error:
            # What MLflow refuses it would refuse again; anything else may pass.
            self._behind = self._sender is None or not refused(error)
            then = "the run goes on, and what is missing is sent later" if self._behind else "the run goes on"
            self._tell_user(f"tracking: could not record {what} at {_shown(self.uri)} ({_first_line(error)}); {then}")

    def _flush(self) -> None:
        """Sends all journals, the oldest first, and stops at the first that cannot be sent."""
        for folder in leftover_journals(self._spool):
            journal = Journal.open(folder)
            if journal is None:
                continue
            try:
                with quiet():
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

    def _connected(self) -> "Sender":
        if self._sender is None:
            self._sender = connect(self.uri, self._workspace, self._experiment)
        return self._sender


class MlflowRun:
    """See `recsys.tracking.base.Run`."""

    def __init__(self, tracker: MlflowTracker, position: int) -> None:
        self.position = position
        self._tracker = tracker
        self._id = tracker.id_of(self)
        self._ended = False

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
        if values:
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
    if uri is not None and is_server(uri):
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


def _shown(uri: str) -> str:
    """The URI without a user's name and password."""
    return re.sub(r"(?<=//)[^/@]+@", "", uri)


def _about() -> dict[str, str]:
    """Tags that the UI shows as columns."""
    tags = {"mlflow.source.name": "recsys", "mlflow.source.type": "LOCAL"}
    # A container may run as a user without a name.
    with suppress(OSError, KeyError):
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _now() -> int:
    """Milliseconds, as MLflow counts."""
    return time.time_ns() // 1_000_000


def _number(value: float) -> float | str:
    """A number that JSON can hold."""
    return float(value) if math.isfinite(value) else str(float(value))


def _first_line(error: Exception) -> str:
    lines = _shown(str(error)).strip().splitlines()
    return lines[0][:_MAX_REASON] if lines else type(error).__name__
