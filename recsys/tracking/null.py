"""The tracker that records nothing."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from recsys.tracking.base import EndStatus, Run

__all__ = ["NullRun", "NullTracker"]


class NullRun:
    """See `recsys.tracking.base.Run`."""

    run_id: str | None = None

    def params(self, values: Mapping[str, object]) -> None:
        """Nothing."""

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Nothing."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Nothing."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Nothing."""

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Nothing."""

    def end(self, status: EndStatus = "finished") -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class NullTracker:
    """See `recsys.tracking.base.Tracker`."""

    def start(
        self,
        name: str,
        *,
        nested: bool = False,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, object] | None = None,
    ) -> NullRun:
        """A run that records nothing."""
        return NullRun()

    def register_model(self, name: str, folder: Path, run: Run, *, tags: Mapping[str, str] | None = None) -> str | None:
        """No version."""
        return None

    def send_leftovers(self) -> None:
        """Nothing."""
