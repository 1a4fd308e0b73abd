"""What makes a vector of a request: an exported network, a mean of item vectors, or a folded-in factor."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from recsys.errors import ArtifactError
from recsys.features.assemble import Assembler
from recsys.features.batch import Arrays, Codes, Field, Floats, InputSpec, QueryBatch
from recsys.features.onnx import OnnxGraph
from recsys.retrieval.recency import recent_items, recent_weights
from recsys.retrieval.static import read_array

__all__ = ["ENCODERS", "FoldInEncoder", "OnnxQueryEncoder", "PooledEncoder", "QueryEncoder", "whitened"]

_CHUNK = 64
"""Requests folded in together: few enough for their vectors to stay in the cache."""


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

    A request of which no input says anything, neither a feature nor a past item, has no vector: NaN.

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
        inputs = self._assembler.query_inputs(queries)
        vectors = self._graph.run(inputs)
        known = self._assembler.are_known(inputs)
        return vectors if known.all() else np.where(known[:, None], vectors, np.float32(np.nan))

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


class PooledEncoder:
    """The weighted mean of the history's item vectors.

    A request without history, or whose vectors cancel out, has no vector: NaN, which finds nothing.

    Args:
        vectors: `(N, D)` float32 by item code, of items in the part of the query.
        decay: weight of a history item one step further back, in (0, 1].
        history: the most recent items that count.
        normalise: whether the mean is made a vector of length 1.
    """

    kind: ClassVar[str] = "pooled"

    def __init__(self, vectors: Floats, *, decay: float = 1.0, history: int = 50, normalise: bool = True) -> None:
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._decay = decay
        self._history = history
        self._normalise = normalise

    def encode(self, queries: QueryBatch) -> Floats:
        """See `QueryEncoder`."""
        sums, size = self._sums(queries)
        if self._normalise:
            size = np.sqrt(np.einsum("bd,bd->b", sums, sums, optimize=False))
        size[size == 0] = np.nan
        sums /= size[:, None]
        return sums

    def _sums(self, queries: QueryBatch) -> tuple[Floats, Floats]:
        """`(B, D)` the vectors of each history, weighted and added up, and `(B,)` the weights added up."""
        if len(queries) == 1:
            # A sparse matrix takes longer to make than this; the sum comes out in the same order.
            items, weights, _ = recent_items(queries, self._history, self._decay)
            products = self._vectors[items] * weights[:, None]
            return products.sum(axis=0, keepdims=True), weights.sum(keepdims=True)
        matrix = recent_weights(queries, len(self._vectors), self._history, self._decay)
        sums: Floats = matrix @ self._vectors
        rows = np.repeat(np.arange(len(queries)), np.diff(matrix.indptr))
        return sums, np.bincount(rows, matrix.data, len(queries)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """See `QueryEncoder`."""
        np.save(folder / "history_vectors.npy", self._vectors, allow_pickle=False)
        settings = {"decay": self._decay, "history": self._history, "normalise": self._normalise}
        (folder / "pooled.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """Reads what `save` wrote. Raises `ArtifactError` when a file is missing or damaged."""
        vectors, settings = _read_vectors(folder), _read_settings(folder / "pooled.json")
        try:
            return cls(
                vectors,
                decay=float(settings["decay"]),
                history=int(settings["history"]),
                normalise=bool(settings["normalise"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder / 'pooled.json'}: cannot be read ({error}); fit the route again") from error


class FoldInEncoder:
    """The factor an unseen user would get in the next step of alternating least squares (Hu 2008, equation 4).

    The factor u minimises Σ_i c_i (p_i − u·y_i)² + regularisation·‖u‖², with preference p_i = 1 and confidence
    c_i = 1 + alpha_i·decay^(steps back) for items of the history, 0 and 1 for all others. Of `whitened` factors T the
    part that all items share is the identity, so that by the Woodbury identity what is left is a system of the size of
    the history: u = Tᵀ(c − A (I + K A)⁻¹ K c), with T of the history's items, K = T·Tᵀ and A the extra confidences.
    A request without history has no vector: NaN.

    Args:
        vectors: `(N, D)` whitened item factors by item code.
        alpha: `(N,)` what an event of each item adds to the confidence.
        user_penalty: exponent on the length of the history by which alpha is divided.
        decay: weight of an event one step further back, in (0, 1].
        history: the most recent items that count; the system solved has at most this size.
    """

    kind: ClassVar[str] = "fold_in"

    def __init__(
        self,
        vectors: Floats,
        *,
        alpha: Floats,
        user_penalty: float = 0.0,
        decay: float = 1.0,
        history: int = 200,
    ) -> None:
        # The last row is what −1 picks: padding counts for nothing.
        self._vectors = np.concatenate([vectors, np.zeros((1, vectors.shape[1]))]).astype(np.float32)
        self._alpha = np.append(alpha, 0).astype(np.float32)
        self._settings: dict[str, float] = {"user_penalty": user_penalty, "decay": decay, "history": history}

    def encode(self, queries: QueryBatch) -> Floats:
        """See `QueryEncoder`."""
        recent = queries.recent(min(int(self._settings["history"]), queries.history.shape[1]))
        factors = np.full((len(queries), self._vectors.shape[1]), np.nan, dtype=np.float32)
        for rows in _of_similar_length(queries.lengths):
            width = int((recent[rows] >= 0).sum(axis=1).max(initial=0))
            if width:
                factors[rows] = self._solved(recent[rows, :width])
        return factors

    def _solved(self, items: Codes) -> Floats:
        """`(b, D)` factors of histories `(b, L)`, none of them empty."""
        real = items >= 0
        lengths = real.sum(axis=1, keepdims=True)
        back = np.maximum(lengths - 1 - np.arange(items.shape[1]), 0)
        alpha = self._alpha[items] * lengths ** -self._settings["user_penalty"]
        extra = alpha * self._settings["decay"] ** back
        vectors = self._vectors[items]
        kernel = (vectors @ vectors.transpose(0, 2, 1)).astype(np.float64)
        confidence = np.where(real, 1.0 + extra, 0.0)[..., None]
        system = np.eye(items.shape[1]) + kernel * extra[:, None, :]
        inner = np.linalg.solve(system, kernel @ confidence)
        weights = (confidence - extra[..., None] * inner).astype(np.float32)
        factors: Floats = (weights.transpose(0, 2, 1) @ vectors).squeeze(1)
        return factors

    def save(self, folder: Path) -> None:
        """See `QueryEncoder`."""
        np.save(folder / "history_vectors.npy", self._vectors[:-1], allow_pickle=False)
        np.save(folder / "alpha.npy", self._alpha[:-1], allow_pickle=False)
        (folder / "fold_in.json").write_text(json.dumps(self._settings) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, item_features: Arrays) -> Self:
        """Reads what `save` wrote. Raises `ArtifactError` when a file is missing or damaged."""
        vectors, settings = _read_vectors(folder), _read_settings(folder / "fold_in.json")
        alpha = read_array(folder / "alpha.npy")
        if alpha.shape != (len(vectors),) or alpha.dtype != np.float32:
            raise ArtifactError(f"{folder / 'alpha.npy'}: expected {len(vectors)} float32; fit the route again")
        try:
            return cls(
                vectors,
                alpha=alpha,
                user_penalty=float(settings["user_penalty"]),
                decay=float(settings["decay"]),
                history=int(settings["history"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder / 'fold_in.json'}: cannot be read ({error}); fit the route again") from error


ENCODERS: dict[str, Callable[[Path, Arrays], QueryEncoder]] = {
    "fold_in": FoldInEncoder.load,
    "onnx": OnnxQueryEncoder.load,
    "pooled": PooledEncoder.load,
}
"""How each kind is read from its folder."""


def whitened(vectors: Floats, regularisation: float) -> Floats:
    """Item factors T = Y·L with L·Lᵀ = (YᵀY + regularisation·I)⁻¹: what `FoldInEncoder` folds in with.

    A user's factor u by Y answers with the same scores as L⁻¹u by T.

    Args:
        vectors: Y, `(N, D)`.
        regularisation: of the squared length of a user's factor, above 0.
    """
    wide = vectors.astype(np.float64)
    gram = wide.T @ wide + regularisation * np.eye(wide.shape[1])
    turned: Floats = np.ascontiguousarray(np.linalg.solve(np.linalg.cholesky(gram), wide.T).T, dtype=np.float32)
    return turned


def _of_similar_length(lengths: NDArray[np.int32]) -> Iterator[NDArray[np.intp]]:
    """Positions of requests with a history, in chunks without much padding."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    for start in range(0, len(order), _CHUNK):
        yield order[start : start + _CHUNK]


def _read_vectors(folder: Path) -> Floats:
    vectors: Any = read_array(folder / "history_vectors.npy")
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
        raise ArtifactError(
            f"{folder}: history vectors of shape {vectors.shape} and type {vectors.dtype}, expected finite (N, D) "
            "float32; fit the route again"
        )
    return np.asarray(vectors)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(settings, dict):
            return settings
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); fit the route again") from error
    raise ArtifactError(f"{path}: found no settings, expected an object; fit the route again")
