"""Which stages have to run, in which order, and running them: same dependencies, no work.

A stage's key is the hash of its configuration, the contents of its inputs and files, the sources of its code and its
seed. Inputs count by content: a stage that ran again and gave the same bytes changes nothing after it.
"""

import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from pipelines.fingerprint import MISSING, FileHashes, differences
from pipelines.sources import Sources
from pipelines.stage import Stage, StageContext
from pipelines.store import FORMAT, Artifact, Store, in_plain_words
from recsys.errors import ArtifactError, InputError
from recsys.settings import content_hash, jsonable

__all__ = ["Observer", "Observers", "StageStatus", "departures", "execute", "identify", "plan", "select"]


class Observer:
    """Watches a run; every method does nothing until overridden."""

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """The run begins; these stages will be settled, in this order."""

    def on_wait(self, text: str) -> None:
        """Another run holds the workspace."""

    def on_start(self, stage: Stage, why: str) -> None:
        """A stage is about to run, for this reason."""

    def on_metric(self, stage: Stage, name: str, value: float, step: int) -> None:
        """A running stage logged a point of a curve."""

    def on_message(self, stage: Stage, text: str) -> None:
        """A running stage, or the store on its behalf, has something to say."""

    def on_skip(self, stage: Stage, artifact: Artifact) -> None:
        """A stage is up to date."""

    def on_finish(self, stage: Stage, artifact: Artifact) -> None:
        """A stage ran and its output is safe on disk."""

    def on_fail(self, stage: Stage, error: BaseException) -> None:
        """A stage failed or was interrupted; the error follows."""


class Observers(Observer):
    """Tells several observers, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.on_plan(stages)

    def on_wait(self, text: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.on_wait(text)

    def on_start(self, stage: Stage, why: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.on_start(stage, why)

    def on_metric(self, stage: Stage, name: str, value: float, step: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.on_metric(stage, name, value, step)

    def on_message(self, stage: Stage, text: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.on_message(stage, text)

    def on_skip(self, stage: Stage, artifact: Artifact) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.on_skip(stage, artifact)

    def on_finish(self, stage: Stage, artifact: Artifact) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.on_finish(stage, artifact)

    def on_fail(self, stage: Stage, error: BaseException) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.on_fail(stage, error)


@dataclass(frozen=True, slots=True)
class StageStatus:
    """Whether a stage has to run.

    Attributes:
        stage: its name.
        state: `fresh` is up to date, `stale` ran before with other dependencies or is damaged, `missing` never ran.
        why: what changed; empty when fresh.
        artifact: the output, when fresh.
    """

    stage: str
    state: Literal["fresh", "stale", "missing"]
    why: str = ""
    artifact: Artifact | None = None


def plan(
    stages: Sequence[Stage], workspace: Path, *, until: str | None = None, verify: bool = False
) -> list[StageStatus]:
    """The state of each stage, in running order. Writes nothing but remembered file hashes.

    Args:
        stages: the graph.
        workspace: where the artifacts are.
        until: look at what this stage needs, not further.
        verify: hash every file of every artifact; otherwise sizes alone are compared.
    """
    store, hashes, code = Store(workspace), FileHashes(_memory(workspace)), _sources(workspace)
    statuses = _statuses(select(stages, until), store, hashes, code, verify=verify)
    if workspace.is_dir():
        hashes.save()
        code.save()
    return statuses


def departures(stages: Sequence[Stage], artifacts: Mapping[str, Artifact]) -> list[str]:
    """How the settings of stages differ from those that artifacts, by stage, were made with; a line each."""
    found: dict[str, None] = {}
    for stage in stages:
        if stage.name in artifacts:
            before = artifacts[stage.name].identity
            now = {**before, "config": jsonable(stage.config), "seed": stage.seed}
            found |= dict.fromkeys(differences(before, now))
    return list(found)


def execute(
    stages: Sequence[Stage],
    workspace: Path,
    *,
    force: Sequence[str] = (),
    until: str | None = None,
    observer: Observer | None = None,
    wait: bool = True,
    verify: bool = False,
) -> dict[str, Artifact]:
    """Brings every stage up to date, and returns the artifacts by stage.

    Args:
        stages: the graph, in any order.
        workspace: where the artifacts go; made when missing.
        force: stages that run whether or not they are up to date; a family name (`recall`) means all its members.
        until: the last stage wanted, or a family; with it, the run does not count as complete.
        observer: told what happens.
        wait: wait for another run in this workspace; otherwise fail.
        verify: hash every file of every artifact before it is reused, even when there is nothing to do; otherwise
            sizes alone are compared then.

    Raises:
        InputError: `force` or `until` names no stage.
        WorkspaceError: the workspace is in use, full, or cannot be written.
        KeyboardInterrupt: on Ctrl-C; finished stages are kept.
    """
    order = select(stages, until)
    forced = {name for pattern in force for name in _matching(stages, pattern, "--force")}
    watcher = observer or Observer()
    store, hashes, code = Store(workspace), FileHashes(_memory(workspace)), _sources(workspace)
    artifacts: dict[str, Artifact] = {}
    with store.lock(wait=wait, say=watcher.on_wait), _interrupts() as check_interrupt:
        store.clean()
        # What a stage is about to read is hashed first: bytes that changed on disk must not become part of a new
        # output. A run with nothing to do reads nothing, and stays quick.
        before = _statuses(order, store, hashes, code, verify=False)
        code.save()
        verify = verify or bool(forced) or any(status.state != "fresh" for status in before)
        watcher.on_plan(order)
        for stage in order:
            contents = {name: artifacts[name].content for name in stage.inputs}
            # The code as it is now: a run may take hours.
            identity = identify(stage, contents, hashes, _sources(workspace))
            status = _status(stage, identity, store, verify)
            if status.artifact is not None and stage.name not in forced:
                artifacts[stage.name] = status.artifact
                watcher.on_skip(stage, status.artifact)
                continue
            watcher.on_start(stage, status.why or "forced")
            inputs = {name: artifacts[name].folder for name in stage.inputs}
            artifacts[stage.name] = _run(stage, identity, inputs, store, watcher, check_interrupt)
            watcher.on_finish(stage, artifacts[stage.name])
        hashes.save()
        if until is None:
            with in_plain_words(workspace):
                store.record_latest(artifacts)
    return artifacts


def identify(stage: Stage, contents: Mapping[str, str | None], hashes: FileHashes, code: Sources) -> dict[str, Any]:
    """All that a stage's output depends on; the key is its hash.

    Args:
        stage: the stage.
        contents: content hash of each input, `None` for one that has to run first.
        hashes: of outside files.
        code: of this project.
    """
    return {
        "format": FORMAT,
        "stage": stage.name,
        "seed": stage.seed,
        "config": jsonable(stage.config),
        "inputs": {name: contents[name] for name in stage.inputs},
        "files": hashes.of(stage.files),
        "sources": code.of(stage.modules),
    }


def select(stages: Sequence[Stage], until: str | None = None) -> list[Stage]:
    """The stages in running order, each after its inputs and otherwise as given; with `until`, what that needs.

    Raises:
        InputError: `until` names no stage.
        ValueError: two stages share a name, an input is no stage, or stages wait for each other.
    """
    by_name = {stage.name: stage for stage in stages}
    if len(by_name) < len(stages):
        raise ValueError("two stages share a name")
    ordered: dict[str, Stage] = {}
    for name in by_name if until is None else _matching(stages, until, "--until"):
        _visit(name, by_name, ordered, ())
    return list(ordered.values())


def _visit(name: str, by_name: Mapping[str, Stage], ordered: dict[str, Stage], above: tuple[str, ...]) -> None:
    if name in ordered:
        return
    if name in above:
        raise ValueError(f"stages wait for each other: {' → '.join((*above, name))}")
    if name not in by_name:
        raise ValueError(f"stage {above[-1]}: its input {name} is no stage")
    for needed in by_name[name].inputs:
        _visit(needed, by_name, ordered, (*above, name))
    ordered[name] = by_name[name]


def _matching(stages: Sequence[Stage], pattern: str, flag: str) -> list[str]:
    names = [stage.name for stage in stages]
    found = [name for name in names if name == pattern or name.startswith(f"{pattern}.")]
    if not found:
        close = get_close_matches(pattern, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(names)}"
        raise InputError(f"{flag} {pattern}: no such stage; {hint}")
    return found


def _memory(workspace: Path) -> Path:
    return workspace / "cache" / "files.json"


def _sources(workspace: Path) -> Sources:
    return Sources(workspace / "cache" / "imports.json")


def _statuses(
    order: Sequence[Stage], store: Store, hashes: FileHashes, code: Sources, *, verify: bool
) -> list[StageStatus]:
    contents: dict[str, str | None] = {}
    statuses = []
    for stage in order:
        status = _status(stage, identify(stage, contents, hashes, code), store, verify)
        contents[stage.name] = None if status.artifact is None else status.artifact.content
        statuses.append(status)
    return statuses


def _status(stage: Stage, identity: Mapping[str, Any], store: Store, verify: bool) -> StageStatus:
    pending = [name for name, content in identity["inputs"].items() if content is None]
    damage = ""
    if not pending:
        try:
            artifact = store.find(stage.name, content_hash(identity), full=verify)
        except ArtifactError as error:
            damage = f"damaged: {error}"
        else:
            if artifact is not None:
                return StageStatus(stage.name, "fresh", artifact=artifact)
    before = store.newest(stage.name)
    if before is None:
        return StageStatus(stage.name, "stale" if damage else "missing", damage or "never ran")
    return StageStatus(stage.name, "stale", damage or "; ".join(_reasons(before, identity, pending)))


def _reasons(before: Artifact, identity: Mapping[str, Any], pending: Sequence[str]) -> list[str]:
    known = {**before.identity["inputs"], **{n: c for n, c in identity["inputs"].items() if c is not None}}
    settled = {name: known.get(name) for name in identity["inputs"]}
    lines = differences(before.identity, {**identity, "inputs": settled})
    absent = [path for path, digest in identity["files"].items() if digest == MISSING]
    lines += [f"file missing: {path}" for path in absent]
    if pending:
        lines.append(f"input has to run first: {', '.join(pending)}")
    return lines


def _run(
    stage: Stage,
    identity: Mapping[str, Any],
    inputs: Mapping[str, Path],
    store: Store,
    observer: Observer,
    check_interrupt: Callable[[], None],
) -> Artifact:
    curves = _Curves(stage, observer)
    try:
        with (
            in_plain_words(store.workspace),
            store.temporary(stage.name) as folder,
            store.temporary(stage.name) as scratch,
            store.unfinished(stage.name, content_hash(identity)) as unfinished,
        ):
            context = StageContext(
                inputs,
                folder,
                scratch,
                stage.seed,
                curves.log,
                lambda text: observer.on_message(stage, text),
                unfinished,
            )
            _reset_peak_memory()
            began = time.perf_counter()
            metrics = stage.run(context) or {}
            # A library may have swallowed the interrupt and returned early: half a training is no output.
            check_interrupt()
            draft = Artifact(
                stage=stage.name,
                key=content_hash(identity),
                folder=folder,
                content="",
                identity=identity,
                files={},
                metrics={name: float(value) for name, value in metrics.items()},
                curves={name: tuple(points) for name, points in curves.points.items()},
                seconds=round(time.perf_counter() - began, 3),
                peak_memory_mb=_peak_memory_mb(),
                created=store.moment(stage.name),
            )
            return store.commit(folder, draft)
    except BaseException as error:
        observer.on_fail(stage, error)
        raise


@dataclass(slots=True)
class _Curves:
    """Passes points on and keeps them."""

    stage: Stage
    observer: Observer
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def log(self, name: str, value: float, step: int) -> None:
        self.points.setdefault(name, []).append((int(step), float(value)))
        self.observer.on_metric(self.stage, name, value, step)


@contextmanager
def _interrupts() -> Iterator[Callable[[], None]]:
    """Remembers Ctrl-C, so that a library which catches it cannot hide it. Yields a check that raises."""
    caught: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if caught:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def _reset_peak_memory() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # other systems: the peak is then that of the whole process so far


def _peak_memory_mb() -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024, 1)
    except (OSError, StopIteration):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
