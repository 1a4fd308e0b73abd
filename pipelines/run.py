"""Running the pipeline of a configuration under a tracker."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.bundle import BUNDLE
from pipelines.graph import Observer, Observers, execute
from pipelines.learnable import LearnableCheck
from pipelines.stages import stages_for
from pipelines.store import Artifact, in_plain_words
from pipelines.tracking import TrackingObserver, git_revision
from recsys.config import Config
from recsys.release.publish import publish_bundle

__all__ = ["RunResult", "run_pipeline"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left behind.

    Attributes:
        artifacts: by stage.
        bundle: the published bundle; `None` when the run was told to stop before it.
    """

    artifacts: dict[str, Artifact]
    bundle: Path | None


def run_pipeline(
    config: Config,
    *,
    until: str | None = None,
    force: Sequence[str] = (),
    observer: Observer | None = None,
    wait: bool = True,
) -> RunResult:
    """Brings every stage up to date, publishes the bundle if it is a new one, and records the run.

    Args:
        config: the pipeline.
        until: the last stage wanted, or a family of stages.
        force: stages that run even if they are up to date.
        observer: told what happens.
        wait: wait for another run in the same workspace; otherwise fail.

    Raises:
        RecsysError: a stage failed, or the workspace cannot be used; finished stages are kept.
    """
    workspace = Path(config.workspace)
    watcher = observer or Observer()
    with TrackingObserver(config, watcher) as tracking:
        artifacts = execute(
            stages_for(config),
            workspace,
            until=until,
            force=force,
            # First: where nothing can be learned, nobody is told that a stage begins.
            observer=Observers(LearnableCheck(config, watcher), watcher, tracking),
            wait=wait,
        )
        published = None
        if "bundle" in artifacts and "evaluate" in artifacts:
            with in_plain_words(workspace):
                published = publish_bundle(
                    artifacts["bundle"].folder / BUNDLE,
                    workspace / "bundles",
                    run_id=tracking.run_id,
                    git_revision=git_revision(),
                    say=watcher.on_wait,
                )
            tracking.published(published)
    return RunResult(artifacts, published)
