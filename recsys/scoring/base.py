"""The scorer contract: what every ranker is served by."""

from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

from recsys.features.batch import Arrays, Floats

__all__ = ["Scorer"]


@runtime_checkable
class Scorer(Protocol):
    """Scores the candidates of requests from assembled model inputs."""

    kind: ClassVar[str]

    def score(self, inputs: Arrays) -> Floats:
        """Logits `(B, C, T)` for assembled inputs (`recsys.features.assemble`)."""
        ...

    def save(self, folder: Path) -> None:
        """Writes everything `load` needs into an existing empty folder; no pickle."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Raises `ArtifactError` when a file is missing or damaged."""
        ...
