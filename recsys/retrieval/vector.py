"""A query vector against an index of item vectors."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Protocol, Self

from recsys.errors import ArtifactError
from recsys.features.assemble import Assembler
from recsys.features.batch import Arrays, Codes, Field, Floats, InputSpec, QueryBatch
from recsys.features.onnx import OnnxGraph
from recsys.retrieval.index import VectorIndex

__all__ = ["ENCODERS", "OnnxQueryEncoder", "QueryEncoder", "VectorRetriever"]


class QueryEncoder(Protocol):
    """Makes a vector of a request."""

    kind: ClassVar[str]

    def encode(self, queries: QueryBatch) -> Floats:
        """`(B, D)` float32."""
        ...

    def save(self, folder: Path) -> None:
        """Writes everything `load` needs into an existing folder."""
        ...


class OnnxQueryEncoder:
    """An exported query tower.

    Args:
        path: of the graph: inputs by field name, one output `(B, D)`.
        spec: the graph's inputs.
        item_features: encoded `item.*` arrays, for the fields of past items.
    """

    kind: ClassVar[str] = "onnx"

    def __init__(self, path: Path, spec: InputSpec, item_features: Arrays) -> None:
        self._graph = OnnxGraph(path)
        self._assembler = Assembler(item_features, spec)

    def encode(self, queries: QueryBatch) -> Floats:
        """See `QueryEncoder`."""
        return self._graph.run(self._assembler.query_inputs(queries))

    def save(self, folder: Path) -> None:
        """See `QueryEncoder`."""
        (folder / "encoder.onnx").write_bytes(self._graph.content)
        spec = json.dumps(asdict(self._assembler.spec), ensure_ascii=False, indent=1)
        (folder / "inputs.json").write_text(spec + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """Reads what `save` wrote. Raises `ArtifactError` when a file is missing or damaged."""
        path = folder / "inputs.json"
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            fields = tuple(Field(**field) for field in spec["fields"])
            inputs = InputSpec(fields, int(spec["history_length"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path}: cannot be read ({error}); fit the route again") from error
        return cls(folder / "encoder.onnx", inputs, item_features)


ENCODERS: dict[str, Callable[[Path, Arrays], QueryEncoder]] = {"onnx": OnnxQueryEncoder.load}


class VectorRetriever:
    """Items by inner product with the request's vector; every item may be returned.

    Args:
        index: item vectors.
        encoder: of requests, into the same space.
    """

    kind: ClassVar[str] = "vector"

    def __init__(self, index: VectorIndex, encoder: QueryEncoder) -> None:
        self._index = index
        self._encoder = encoder

    def retrieve(self, queries: QueryBatch, k: int, *, allowed: Codes | None = None) -> tuple[Codes, Floats]:
        """See `Retriever`."""
        return self._index.search(self._vectors(queries), k, allowed=allowed)

    def score(self, queries: QueryBatch, codes: Codes) -> Floats:
        """See `Retriever`."""
        return self._index.score(self._vectors(queries), codes)

    def _vectors(self, queries: QueryBatch) -> Floats:
        return queries.once(self, lambda: self._encoder.encode(queries))

    def save(self, folder: Path) -> None:
        """See `Retriever`."""
        self._index.save(folder)
        self._encoder.save(folder)
        (folder / "encoder.json").write_text(json.dumps({"kind": self._encoder.kind}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """See `Retriever`."""
        path = folder / "encoder.json"
        try:
            load = ENCODERS[json.loads(path.read_text(encoding="utf-8"))["kind"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path}: no known query encoder ({error}); fit the route again") from error
        return cls(VectorIndex.load(folder), load(folder, item_features))
