"""What a run tells a tracker. A tracker watches: nothing it does changes what a run produces.

A tracker that cannot be reached never fails a run: that is said once, what could not be recorded is kept and sent
later, and the run goes on.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

__all__ = ["EndStatus", "Run", "Tracker", "status_of"]

EndStatus = Literal["finished", "failed", "killed"]


class Run(Protocol):
    """A recorded run; as a context it ends itself with what the block ended with."""

    @property
    def run_id(self) -> str | None:
        """The tracker's own id, or a name until it has one; `None` where nothing is recorded."""

    def params(self, values: Mapping[str, object]) -> None:
        """Records settings, flat: `{"routes.dssm.epochs": 20}`. Each name once a run."""

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Records a figure; with steps, a point of a curve."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Records many figures at once."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Sets words to look the run up by."""

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copies a file, or what a folder holds, to the run, below `folder` if given."""

    def end(self, status: EndStatus = "finished") -> None:
        """Closes the run; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tracker(Protocol):
    """Where runs are recorded."""

    def start(
        self,
        name: str,
        *,
        nested: bool = False,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Run:
        """Opens a run.

        Args:
            name: what people see.
            nested: belongs to the run that was opened last and is still open.
            tags: words to look the run up by.
            params: settings, flat.
        """

    def register_model(self, name: str, folder: Path, run: Run, *, tags: Mapping[str, str] | None = None) -> str | None:
        """Copies a bundle to the run and makes it the next version of a registered model.

        Args:
            name: of the model.
            folder: the bundle.
            run: that made it.
            tags: of the version.

        Returns:
            The version; `None` when there is none yet.
        """

    def send_leftovers(self) -> None:
        """Sends what earlier runs could not, if the tracker can be reached."""


def status_of(kind: type[BaseException] | None) -> EndStatus:
    """How a run ends whose block ended with this exception.

    Example:
        >>> status_of(None), status_of(ValueError), status_of(KeyboardInterrupt)
        ('finished', 'failed', 'killed')
    """
    if kind is None:
        return "finished"
    return "failed" if issubclass(kind, Exception) else "killed"
