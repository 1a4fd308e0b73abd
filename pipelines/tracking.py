"""Tells a tracker what a run does: one parent run, a nested run for every stage that ran."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipelines.graph import Observer
from pipelines.stage import Stage
from pipelines.store import Artifact
from recsys.bundle.format import read_provenance
from recsys.config import Config
from recsys.settings import content_hash
from recsys.tracking.base import EndStatus, Run, status_of
from recsys.tracking.registry import make_tracker

__all__ = ["TrackingObserver", "flat", "git_revision"]

_REPORTS = ("report.html", "report.txt", "metrics.json")


class TrackingObserver(Observer):
    """Records a run from its first stage that is not up to date; a run with nothing to do leaves no trace.

    Args:
        config: the pipeline.
        say: told once when something could not be recorded.
    """

    def __init__(self, config: Config, say: Observer) -> None:
        self._config = config
        settings = config.tracking
        self._tracker = make_tracker(
            settings.kind,
            Path(config.workspace),
            experiment=settings.experiment or config.name,
            uri=settings.uri,
            say=say.on_wait,
        )
        self._parent: Run | None = None
        self._stage: Run | None = None
        self._artifacts: dict[str, Artifact] = {}
        self._said: list[str] = []

    @property
    def run_id(self) -> str | None:
        """The tracker's id of the parent run; `None` when nothing was recorded."""
        return None if self._parent is None else self._parent.run_id

    def on_start(self, stage: Stage, why: str) -> None:
        """See `Observer`."""
        if self._parent is None:
            settings = flat(self._config.model_dump(mode="json"))
            tags = {"config_hash": content_hash(self._config), "git_revision": git_revision() or "none"}
            self._parent = self._tracker.start(self._config.name, params=settings, tags=tags)
        self._said = []
        tags = {"stage": stage.name, "why": why}
        self._stage = self._tracker.start(stage.name, nested=True, tags=tags)

    def on_metric(self, stage: Stage, name: str, value: float, step: int) -> None:
        """See `Observer`."""
        if self._stage is not None:
            self._stage.metric(name, value, step)

    def on_message(self, stage: Stage, text: str) -> None:
        """See `Observer`."""
        self._said.append(text)

    def on_skip(self, stage: Stage, artifact: Artifact) -> None:
        """See `Observer`."""
        self._artifacts[stage.name] = artifact

    def on_finish(self, stage: Stage, artifact: Artifact) -> None:
        """See `Observer`."""
        self._artifacts[stage.name] = artifact
        if self._stage is not None:
            self._stage.params(flat(artifact.identity.get("config") or {}))
            self._stage.metrics(
                {**artifact.metrics, "seconds": artifact.seconds, "peak_memory_mb": artifact.peak_memory_mb}
            )
            self._end_stage("finished")

    def on_fail(self, stage: Stage, error: BaseException) -> None:
        """See `Observer`."""
        if isinstance(error, Exception):
            self._said.append(str(error))
        if self._stage is not None:
            self._end_stage(status_of(type(error)))

    def published(self, bundle: Path) -> None:
        """Registers the bundle if this run made it."""
        run_id = self.run_id
        if self._parent is not None and run_id is not None and read_provenance(bundle).run_id == run_id:
            tags = {"bundle": bundle.name, "config_hash": content_hash(self._config)}
            self._tracker.register_model(self._config.name, bundle, self._parent, tags=tags)

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `Observer`; nobody else writes to the workspace from now on."""
        self._tracker.send_leftovers()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._parent is None:
            return
        for name, artifact in self._artifacts.items():
            self._parent.metrics({f"{name}/seconds": artifact.seconds})
            if name == "ingest":
                self._parent.tags({"data_hash": artifact.content})
        evaluated = self._artifacts.get("evaluate")
        if evaluated is not None:
            self._parent.metrics(evaluated.metrics)
            self._report(self._parent, evaluated.folder)
        self._parent.end(status_of(kind))

    def _end_stage(self, status: EndStatus) -> None:
        assert self._stage is not None
        if self._said:
            self._stage.tags({"messages": "\n".join(self._said)})
        self._stage.end(status)
        self._stage = None

    def _report(self, run: Run, folder: Path) -> None:
        for name in _REPORTS:
            if (folder / name).exists():
                run.artifact(folder / name, "report")
        if (folder / "plots").is_dir():
            run.artifact(folder / "plots", "plots")


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings under dotted names; lists stay values."""
    return dict(_flat("", settings))


def git_revision() -> str | None:
    """The commit of the repository the command runs in, `+` after it when files differ; `None` outside of one."""
    with suppress(OSError, subprocess.SubprocessError):
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif prefix:
        yield prefix, value
