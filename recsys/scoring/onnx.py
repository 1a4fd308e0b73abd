"""Rankers exported as ONNX graphs."""

from pathlib import Path
from typing import ClassVar, Self

from recsys.features.batch import Arrays, Floats
from recsys.features.onnx import OnnxGraph

__all__ = ["OnnxScorer"]

_FILE = "model.onnx"


class OnnxScorer:
    """Scores with an exported graph.

    Args:
        path: of the graph: inputs by field name, one output `(B, C, T)`.

    Raises:
        ArtifactError: the file is missing or damaged.
    """

    kind: ClassVar[str] = "onnx"

    def __init__(self, path: Path) -> None:
        self._graph = OnnxGraph(path)

    def score(self, inputs: Arrays) -> Floats:
        """See `Scorer`."""
        return self._graph.run(inputs)

    def save(self, folder: Path) -> None:
        """See `Scorer`."""
        (folder / _FILE).write_bytes(self._graph.content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Scorer`."""
        return cls(folder / _FILE)
