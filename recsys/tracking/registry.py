"""The tracker of a configuration."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from recsys.errors import InputError
from recsys.tracking.base import Tracker
from recsys.tracking.null import NullTracker

__all__ = ["make_tracker"]


def make_tracker(
    kind: Literal["mlflow", "none"],
    workspace: Path,
    *,
    experiment: str,
    uri: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Tracker:
    """Makes a tracker; it connects when the first run starts.

    Args:
        kind: where runs are recorded.
        workspace: holds the database and the artifacts unless `uri` says otherwise.
        experiment: runs are grouped by.
        uri: of an MLflow server or database; `None` is SQLite inside the workspace.
        say: told once when something could not be recorded; `None` logs a warning.

    Raises:
        InputError: mlflow is wanted and not installed.
    """
    if kind == "none":
        return NullTracker()
    if find_spec("mlflow") is None:
        raise InputError(
            "tracking.kind: mlflow is not installed; pip install 'recsys[train]', or set tracking.kind: none"
        )
    from recsys.tracking.mlflow import MlflowTracker

    return MlflowTracker(workspace, experiment=experiment, uri=uri, say=say)
