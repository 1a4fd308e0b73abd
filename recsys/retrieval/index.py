"""Search among item vectors: exact, or by a FAISS structure that looks at some of them."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self, get_args

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from recsys.errors import ArtifactError, DataError
from recsys.features.batch import Codes, Floats
from recsys.retrieval.config import FlatIndex, IndexSpec
from recsys.retrieval.item_rows import ItemRows
from recsys.retrieval.static import read_array
from recsys.retrieval.structures import Structure, build, checked, few, longest, on_gpu, with_effort
from recsys.retrieval.topk import top_k

__all__ = ["FLAT", "Metric", "VectorIndex"]

# From so many numbers in the queries on, whole matrices are multiplied: with FAISS's own 128,000 a batch of 256 queries
# of 256 numbers takes six times as long. A single query of up to 2,048 numbers is quicker without.
faiss.cvar.distance_compute_blas_threshold = 2048

Metric = Literal["inner_product", "cosine", "l2"]
Rows = NDArray[np.int32]
"""Positions among the vectors of the items that are known; −1 pads. `ItemRows` says which items they are."""
FLAT = FlatIndex(kind="flat")
_SPEC: TypeAdapter[IndexSpec] = TypeAdapter(IndexSpec)
_NOISE = np.float32(1e-6)
"""Of the lengths of query and vector: what rounding does to their product."""
_OVERHEAD = 4096
"""Bytes a structure may take for an item on top of twice its vector; a file of more is not read."""


class VectorIndex:
    """Item vectors, and what FAISS built of them.

    Scores are inner products, cosines, or negative squared distances: always those of the vectors themselves, never
    of codes. The vectors of an exact index are those FAISS holds, not a copy.

    A vector of zeros stands for an item that the route knows nothing of, whatever the metric: the item has a code, but
    no row here, and is never found. A query of zeros finds nothing.

    Attributes:
        vectors: `(R, D)` of the items that are known, by row.
        metric: what a score is.
        measured: what is known of the structure's quality; kept with it.

    Args:
        vectors: `(N, D)` float32 by item code; zeros for an unknown item.
        spec: how they are searched.
        metric: what a score is.
        seed: of the structure.
        measured: what is known of the structure's quality; kept with it.

    Raises:
        ConfigError: the vectors do not suit the structure.
    """

    def __init__(
        self,
        vectors: Floats,
        spec: IndexSpec = FLAT,
        *,
        metric: Metric = "inner_product",
        seed: int = 0,
        measured: Mapping[str, float] | None = None,
    ) -> None:
        items = ItemRows.of_vectors(vectors)
        rows = _rows(vectors, metric)
        self._fill(rows, items, build(rows, spec, _faiss_metric(metric), seed=seed), metric, measured or {})

    def _fill(
        self, vectors: Floats, items: ItemRows, structure: Structure, metric: Metric, measured: Mapping[str, float]
    ) -> None:
        self.metric: Metric = metric
        self.measured = dict(measured)
        self._items = items
        self._structure = structure
        self._gpu: Structure | None = None
        self._gpu_lock = Lock()
        self._keep(vectors)

    def _keep(self, vectors: Floats) -> None:
        """Vectors as FAISS holds them, where it does: they stand in memory once."""
        held = self._structure.vectors
        self.vectors: Floats = vectors if held is None else held[:, : vectors.shape[1]]
        self._longest: float | None = None

    @property
    def spec(self) -> IndexSpec:
        """What was built: with the numbers that were left to be chosen, and exact where the items are few."""
        return self._structure.spec

    def set_effort(self, number: int) -> None:
        """How much a search looks at: `nprobe` or `ef_search`; other kinds have no such number."""
        self._structure = with_effort(self._structure, number)

    def search(self, queries: Floats, k: int, *, allowed: Codes | None = None) -> tuple[Codes, Floats]:
        """The `k` items with the largest scores; of a structure that is not exact, most of them.

        A list is never shorter for the structure: where it finds too few, the row is searched exactly.

        Args:
            queries: `(B, D)`; one that is zero or not finite finds nothing.
            k: list length.
            allowed: sorted item codes to choose from; `None` means all.

        Returns:
            codes `(B, k)` and scores `(B, k)`, best first, ties to the smaller code, padded with −1 and −inf.
        """
        queries, usable = self._asked(queries)
        rows = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full(rows.shape, -np.inf, dtype=np.float32)
        if usable.any():
            rows[usable], scores[usable] = self._search(queries[usable], k, self._items.among(allowed))
        return self._items.codes[rows], scores

    def _search(self, queries: Floats, k: int, allowed: Rows | None) -> tuple[Rows, Floats]:
        """As `search`, for queries that can find something, in rows of `vectors` instead of codes."""
        exact = isinstance(self.spec, FlatIndex)
        qualify = len(self.vectors) if allowed is None else len(allowed)
        if k >= qualify or (allowed is not None and (exact or qualify <= few(self.spec, len(self.vectors)))):
            return self._exactly(queries, k, allowed)
        return self._flat(queries, k) if exact else self._some(queries, k, allowed)

    def _exactly(self, queries: Floats, k: int, allowed: Rows | None) -> tuple[Rows, Floats]:
        if allowed is None or 2 * len(allowed) > len(self.vectors):
            scores = self._scores(queries, self.vectors)
            if allowed is not None:
                others = np.ones(len(self.vectors), dtype=bool)
                others[allowed] = False
                scores[:, others] = -np.inf
            return top_k(scores, k)
        found, scores = top_k(self._scores(queries, self.vectors[allowed]), k)
        return np.append(allowed, np.int32(-1))[found], scores

    def _flat(self, queries: Floats, k: int) -> tuple[Rows, Floats]:
        # One more than asked shows whether the last place is tied; such a request is settled over all rows.
        scores, rows = self._found(self._able(k + 1), queries, k + 1, None)
        near = scores[:, :-1] - scores[:, 1:] <= self._noise(queries)
        if not near.any():
            return rows[:, :k], scores[:, :k]
        requests, places = np.nonzero(_either(near))
        if len(requests):
            again = self._score(queries[requests], rows[requests, places][:, None])
            scores[requests, places] = again[:, 0]
        open_ended = np.flatnonzero(near[:, -1])
        rows, scores = _in_order(rows, scores, k)
        for at in open_ended:
            rows[at], scores[at] = self._settled(queries[at : at + 1], k)
        return rows, scores

    def _noise(self, queries: Floats) -> Floats:
        """`(B, 1)` how much the scores of equal vectors may differ: by the batch, sums come out in other orders."""
        lengths = np.sqrt(np.einsum("bd,bd->b", queries, queries))[:, None]
        if self._longest is None:
            self._longest = longest(self.vectors)
        size: Floats = (lengths + self._longest) ** 2 if self.metric == "l2" else lengths * self._longest
        return _NOISE * size

    def _settled(self, query: Floats, k: int) -> tuple[Rows, Floats]:
        """The best `k` for a query `(1, D)`, whatever sums the search came by: each row's score worked out alone."""
        rough = self._scores(query, self.vectors)[0]
        least = np.partition(rough, len(rough) - k)[len(rough) - k] - self._noise(query)[0, 0]
        close = np.flatnonzero(rough >= least).astype(np.int32)
        scores = self._score(query, close[None])[0]
        order = np.lexsort((close, -scores))[:k]
        return close[order], scores[order]

    def _some(self, queries: Floats, k: int, allowed: Rows | None) -> tuple[Rows, Floats]:
        selected = None
        if allowed is not None:
            selected = np.zeros(len(self.vectors), dtype=bool)
            selected[allowed] = True
        structure, wanted = self._chosen(k, len(self.vectors) if allowed is None else len(allowed))
        scores, rows = self._found(structure, queries, wanted, selected)
        if selected is not None:
            rows[~selected[rows]] = -1
        missing = rows < 0
        if not missing.any():
            return _in_order(rows, scores, k)
        scores[missing] = -np.inf
        rows, scores = _in_order(rows, scores, k)
        for at in np.flatnonzero(rows[:, -1] < 0):
            rows[at], scores[at] = (part[0] for part in self._exactly(queries[at : at + 1], k, allowed))
        return rows, scores

    def _chosen(self, k: int, qualify: int) -> tuple[Structure, int]:
        """What is to be searched for how many items, so that `k` of those that qualify are among them."""
        # By half more than the share says, as the best are not spread evenly.
        spread = min(math.ceil(1.5 * k * len(self.vectors) / qualify), len(self.vectors))
        filtered = qualify < len(self.vectors)
        structure = self._able(spread if filtered else k)
        return structure, spread if filtered and not structure.selects else k

    def _able(self, k: int) -> Structure:
        """The structure on the GPU, if there is one and it gives lists of this length."""
        return self._structure if self._gpu is None or k > self._gpu.most else self._gpu

    def _found(
        self, structure: Structure, queries: Floats, k: int, selected: NDArray[np.bool_] | None
    ) -> tuple[Floats, Rows]:
        """Scores and rows as the structure has them, in its own order."""
        if structure is self._gpu:
            # Of a GPU's resources one search makes use at a time.
            with self._gpu_lock:
                values, rows = structure.search(queries, k, None)
        else:
            values, rows = structure.search(queries, k, selected)
        return -values if self.metric == "l2" else values, rows.astype(np.int32)

    def score(self, queries: Floats, codes: Codes) -> Floats:
        """`(B, C)` scores of items `(B, C)` for queries `(B, D)`; −inf at −1 and for what `search` never finds."""
        queries, usable = self._asked(queries)
        scores = self._score(queries, self._items.rows[codes])
        scores[~usable] = -np.inf
        return scores

    def _score(self, queries: Floats, rows: Rows) -> Floats:
        """`(B, C)` scores of rows `(B, C)`; −inf at −1."""
        if not len(self.vectors):
            return np.full(rows.shape, -np.inf, dtype=np.float32)
        vectors = self.vectors[np.maximum(rows, 0)]
        if self.metric == "l2":
            vectors -= queries[:, None]
            scores = -np.einsum("bcd,bcd->bc", vectors, vectors, optimize=False)
        else:
            scores = np.einsum("bd,bcd->bc", queries, vectors, optimize=False)
        return np.where(rows >= 0, scores, np.float32(-np.inf)).astype(np.float32)

    def _scores(self, queries: Floats, vectors: Floats) -> Floats:
        """`(B, M)` scores of every query and vector `(M, D)`."""
        products: Floats = queries @ vectors.T
        if self.metric != "l2":
            return products
        lengths = np.einsum("md,md->m", vectors, vectors)
        distances: Floats = lengths + np.einsum("bd,bd->b", queries, queries)[:, None] - 2 * products
        return -distances

    def _asked(self, queries: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """The queries, and `(B,)` which of them can find anything; the others are zeros."""
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        if asked.ndim != 2 or asked.shape[1] != self.vectors.shape[1]:
            raise DataError(f"index: found queries of shape {asked.shape}, expected (B, {self.vectors.shape[1]})")
        squares = np.einsum("bd,bd->b", asked, asked)
        usable: NDArray[np.bool_] = np.isfinite(squares) & (squares > 0)
        if not usable.all():
            # The squares of very large and very small numbers say nothing.
            usable = np.isfinite(asked).all(axis=1) & np.any(asked, axis=1)
            asked = np.where(usable[:, None], asked, np.float32(0))
        return _of_length_one(asked) if self.metric == "cosine" else asked, usable

    def add(self, vectors: Floats) -> None:
        """Gives further items the codes from N on. Clusters and codes stay those trained on the first items.

        Not while another thread searches; `vectors` taken before are not to be used after.

        Args:
            vectors: `(M, D)`; zeros for an item that is to have a code only.

        Raises:
            DataError: the vectors have another length.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.vectors.shape[1]:
            raise DataError(f"index: found vectors of shape {vectors.shape}, expected (M, {self.vectors.shape[1]})")
        rows = _rows(vectors, self.metric)
        # Before FAISS moves what it holds.
        every = np.concatenate([self.vectors, rows])
        self._structure.add(rows)
        self._items = self._items.extended(vectors)
        self._keep(every)

    def remove(self, codes: Codes) -> None:
        """Never finds these items again; the others keep their codes, and memory is not given back.

        Raises:
            DataError: there is no such item.
        """
        self._items = self._items.without(codes)

    def to_gpu(self) -> None:
        """Searches on the first GPU from now on: `flat`, `ivf` and `ivf_pq`. Other kinds stay where they are.

        Raises:
            DataError: there is no GPU, or this FAISS cannot use it.
        """
        if not getattr(faiss, "get_num_gpus", int)():
            raise DataError("index: no GPU that FAISS can use; install recsys[gpu], or search on the CPU")
        self._gpu = on_gpu(self._structure)

    def save(self, folder: Path) -> None:
        """Writes vectors, codes, `index.json` and, unless the index is exact, `index.faiss` into an existing folder."""
        np.save(folder / "vectors.npy", self.vectors, allow_pickle=False)
        self._items.save(folder)
        described: dict[str, Any] = {
            "spec": self.spec.model_dump(),
            "metric": self.metric,
            "measured": self.measured,
            "items": self._items.n_items,
            "removed": self._items.removed.tolist(),
        }
        if not isinstance(self.spec, FlatIndex):
            data = faiss.serialize_index(self._structure.base).tobytes()
            (folder / "index.faiss").write_bytes(data)
            described |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (folder / "index.json").write_text(json.dumps(described) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote; FAISS sees a file only if it is the one that was written.

        Raises:
            ArtifactError: a file is missing, damaged, or of another index.
        """
        vectors = read_array(folder / "vectors.npy")
        if vectors.ndim != 2 or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise ArtifactError(
                f"{folder}: vectors of shape {vectors.shape} and type {vectors.dtype}, expected finite (N, D) float32; "
                "fit the route again"
            )
        path = folder / "index.json"
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            spec, metric = _SPEC.validate_python(described["spec"]), described["metric"]
            if metric not in get_args(Metric):
                raise ValueError(f"metric {metric!r}, expected one of {', '.join(get_args(Metric))}")
            structure = _read_structure(folder, described, spec, metric, vectors)
            index = cls.__new__(cls)
            index._fill(vectors, _read_items(folder, described, len(vectors)), structure, metric, described["measured"])
            if described["removed"]:
                index.remove(np.array(described["removed"], dtype=np.int32))
        except (OSError, ValueError, KeyError, TypeError, ValidationError, DataError) as error:
            raise ArtifactError(f"{path}: cannot be read ({error}); fit the route again") from error
        return index


def _read_items(folder: Path, described: Mapping[str, Any], n_rows: int) -> ItemRows:
    if "items" in described:
        return ItemRows.load(folder, n_rows, int(described["items"]))
    # Before bundles of version 2 every item had a row, and those of unknown items were searched, too.
    return ItemRows.of(np.arange(n_rows, dtype=np.int32), n_rows)


def _read_structure(
    folder: Path, described: Mapping[str, Any], spec: IndexSpec, metric: Metric, vectors: Floats
) -> Structure:
    if isinstance(spec, FlatIndex):
        return build(vectors, spec, _faiss_metric(metric), seed=0)
    path = folder / "index.faiss"
    size, most = path.stat().st_size, len(vectors) * (2 * vectors.itemsize * vectors.shape[1] + _OVERHEAD)
    if size != described["bytes"] or size > most + 2**24:
        raise ValueError(f"index.faiss has {size:,} bytes, expected {described['bytes']:,}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != described["sha256"]:
        raise ValueError("index.faiss is not what was written")
    try:
        index = faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))
    except RuntimeError as error:
        raise ValueError(f"index.faiss: {error}") from error
    return checked(index, spec, _faiss_metric(metric), vectors)


def _either(near: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`(B, K)` places that are near the one before or after, of `(B, K − 1)` whether each is near the next."""
    none = np.zeros((len(near), 1), dtype=bool)
    either: NDArray[np.bool_] = np.concatenate([near, none], axis=1) | np.concatenate([none, near], axis=1)
    return either


def _in_order(rows: Rows, scores: Floats, k: int) -> tuple[Rows, Floats]:
    """The best `k` of each request, best first, ties to the smaller row; FAISS has most lists in order already."""
    rising = scores[:, 1:] >= scores[:, :-1]
    if not rising.any():
        return rows[:, :k], scores[:, :k]
    mixed = np.flatnonzero(rising.any(axis=1))
    order = np.lexsort((rows[mixed], -scores[mixed]), axis=1)
    rows[mixed] = np.take_along_axis(rows[mixed], order, axis=1)
    scores[mixed] = np.take_along_axis(scores[mixed], order, axis=1)
    return rows[:, :k], scores[:, :k]


def _faiss_metric(metric: Metric) -> int:
    return int(faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)


def _rows(vectors: Floats, metric: Metric) -> Floats:
    """`(R, D)` the vectors that are not zero, as they are searched."""
    known = vectors.any(axis=1)
    rows = np.ascontiguousarray(vectors if known.all() else vectors[known], dtype=np.float32)
    return _of_length_one(rows) if metric == "cosine" else rows


def _of_length_one(vectors: Floats) -> Floats:
    """Vectors of length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return scaled
