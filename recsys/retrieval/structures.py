"""FAISS structures: built of vectors by their settings, and searched with more effort where fewer items qualify."""

import math
from dataclasses import dataclass, replace
from typing import Any

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from recsys.errors import ConfigError
from recsys.features.batch import Floats
from recsys.retrieval.config import FlatIndex, HNSWIndex, IndexSpec, IVFIndex, IVFPQIndex, PQIndex, SQIndex

__all__ = ["EXACT_BELOW", "Structure", "build", "checked", "effort", "few", "longest", "on_gpu", "with_effort"]

# Its stubs lack half of what is used here.
faiss: Any = typed_faiss
EXACT_BELOW = 1_000
"""Fewer items are looked at one and all, whatever the settings say."""
_POINTS = 39
"""Vectors for every centroid, below which FAISS finds clusters poorly trained."""
_FEW = 20_000
_GPU_LIST = 2048
"""Length of the longest list a GPU finds."""
_SQ = {
    "4bit": faiss.ScalarQuantizer.QT_4bit,
    "8bit": faiss.ScalarQuantizer.QT_8bit,
    "fp16": faiss.ScalarQuantizer.QT_fp16,
}
_CODED = (PQIndex, IVFPQIndex, SQIndex)
_CLASSES = {
    "flat": faiss.IndexFlat,
    "ivf": faiss.IndexIVFFlat,
    "hnsw": faiss.IndexHNSWFlat,
    "pq": faiss.IndexPQ,
    "ivf_pq": faiss.IndexIVFPQ,
    "sq": faiss.IndexScalarQuantizer,
}


@dataclass(frozen=True, slots=True)
class Structure:
    """What FAISS searches.

    Attributes:
        spec: what was built, with the numbers that were left to be chosen.
        index: of FAISS; with codes, what puts the items they find in order by their vectors, which it holds.
        width: numbers of a vector as it has them; at the end zeros, for parts of one length, or `radius`.
        selects: whether a search can be limited to some items.
        radius: above 0: a graph of products is built of distances. Every vector v has one number more,
            √(radius² − ‖v‖²), and queries a zero, so that the nearest has the largest product (Bachrach 2014, section
            3): by products long vectors would be everybody's neighbours, and short ones out of reach. Searched it is
            by products, which go the same way.
        most: length of the longest list it gives.
    """

    spec: IndexSpec
    index: Any
    width: int
    selects: bool
    radius: float = 0.0
    most: int = 2**31 - 1

    @property
    def base(self) -> Any:  # noqa: ANN401
        """What finds items: all of the index that is not their vectors."""
        return faiss.downcast_index(self.index.base_index) if isinstance(self.spec, _CODED) else self.index

    @property
    def vectors(self) -> Floats | None:
        """`(N, width)` the vectors that FAISS holds, not a copy; `None` if it holds none as they are.

        They keep the index alive, but `add` moves them: what was taken before is then no longer theirs.
        """
        match self.spec:
            case FlatIndex():
                flat = self.index
            case HNSWIndex():
                flat = faiss.downcast_index(self.index.storage)
            case IVFIndex():
                return None
            case _:
                flat = faiss.downcast_index(self.index.refine_index)
        if flat.ntotal == 0:
            return np.empty((0, self.width), dtype=np.float32)
        return np.asarray(_Held(self.index, int(flat.get_xb()), (flat.ntotal, self.width)))

    def search(self, queries: Floats, k: int, selected: NDArray[np.bool_] | None) -> tuple[Floats, NDArray[np.int64]]:
        """Distances or products `(B, k)` and items `(B, k)`, −1 where there are no more.

        Args:
            queries: `(B, D)`.
            k: how many.
            selected: `(N,)` which items qualify; the fewer, the more effort, so that as many of the best are found.
                Without effect where `selects` is false.
        """
        _single_threaded()
        queries = widened(queries, self.width)
        if selected is None or not self.selects:
            found: tuple[Floats, NDArray[np.int64]] = self.index.search(queries, k)
            return found
        bits = np.packbits(selected, bitorder="little")
        share = max(float(selected.mean()), 1 / len(selected))
        parameters = _parameters(self.spec, share, faiss.IDSelectorBitmap(bits))
        limited: tuple[Floats, NDArray[np.int64]] = self.index.search(queries, k, params=parameters)
        return limited

    def add(self, vectors: Floats) -> None:
        """Appends vectors `(M, D)`."""
        _append(self.index, _rows(vectors, self.width, self.radius), lifted=self.radius > 0)


class _Held:
    """Memory of an index as numpy takes it: an array of it refers to the index, so that it is not freed before."""

    def __init__(self, index: object, address: int, shape: tuple[int, int]) -> None:
        self.index = index
        self.__array_interface__ = {"data": (address, True), "shape": shape, "typestr": "<f4", "version": 3}


def build(vectors: Floats, spec: IndexSpec, metric: int, *, seed: int) -> Structure:
    """Trains and fills a structure; the same seed gives the same one.

    Args:
        vectors: `(N, D)` float32.
        spec: what to build.
        metric: of FAISS.
        seed: of the clustering.

    Raises:
        ConfigError: the vectors are shorter than the parts they are to be cut into.
    """
    _single_threaded()
    items, dim = vectors.shape
    spec = _settled(spec, items, dim)
    width = _width(spec, metric, dim)
    lifted = width > dim and isinstance(spec, HNSWIndex)
    # Where the squares of all numbers are rounded to zero any radius does.
    radius = (longest(vectors) or 1.0) if lifted else 0.0
    index = _empty(spec, width, metric, seed)
    rows = _rows(vectors, width, radius)
    if isinstance(spec, _CODED):
        index = faiss.IndexRefineFlat(index)
        index.k_factor = spec.refine
    if not index.is_trained:
        index.train(rows)
    _append(index, rows, lifted=lifted)
    return Structure(spec, index, width, not isinstance(spec, PQIndex), radius)


def _single_threaded() -> None:
    """One thread a search: in request threads more of them fight over the cores, and builds would differ.

    Each thread of the process has a number of its own, so that it is set wherever FAISS is about to work.
    """
    faiss.omp_set_num_threads(1)


def longest(vectors: Floats) -> float:
    """The length of the longest of the vectors `(N, D)`."""
    return math.sqrt(np.einsum("nd,nd->n", vectors, vectors).max(initial=0.0))


def _append(index: Any, rows: Floats, *, lifted: bool) -> None:  # noqa: ANN401
    """Adds rows; to a graph that is searched by products, by their distances."""
    if lifted:
        _measure(index, faiss.METRIC_L2)
    index.add(rows)
    if lifted:
        _measure(index, faiss.METRIC_INNER_PRODUCT)


def _measure(graph: Any, metric: int) -> None:  # noqa: ANN401
    """Changes what the graph and its vectors go by."""
    graph.metric_type = graph.storage.metric_type = metric
    graph.hnsw.is_similarity = metric == faiss.METRIC_INNER_PRODUCT


def _width(spec: IndexSpec, metric: int, dim: int) -> int:
    """Numbers of a vector in the structure."""
    if isinstance(spec, HNSWIndex) and metric == faiss.METRIC_INNER_PRODUCT:
        return dim + 1
    parts = (spec.m or 1) if isinstance(spec, PQIndex | IVFPQIndex) else 1
    return math.ceil(dim / parts) * parts


def _rows(vectors: Floats, width: int, radius: float) -> Floats:
    """Vectors as they stand in the structure; one that was added later and is longer than the radius has a 0."""
    rows = widened(vectors, width)
    if radius:
        rows[:, -1] = np.sqrt(np.maximum(radius**2 - np.einsum("nd,nd->n", vectors, vectors), 0.0))
    return rows


def widened(vectors: Floats, width: int) -> Floats:
    """With zeros at the end, which change no product and no distance; the same array if it is wide enough."""
    items, dim = vectors.shape
    if dim == width:
        return vectors
    wide = np.zeros((items, width), dtype=np.float32)
    wide[:, :dim] = vectors
    return wide


def few(spec: IndexSpec, items: int) -> int:
    """So many allowed items are looked at one and all: quicker than finding them among the others, and exact.

    A step through a graph takes as long as some 30 vectors in a row, and a filtered search `4 · ef_search / share` of
    them: the same as for all that qualify at a share of √(128 · ef_search / items). Codes of `pq` cannot be filtered.
    """
    match spec:
        case HNSWIndex():
            return max(_FEW, math.isqrt(128 * spec.ef_search * items))
        case PQIndex():
            return max(_FEW, items // 4)
        case _:
            return _FEW


def effort(spec: IndexSpec, items: int) -> list[int]:
    """The numbers to try where recall is measured, from little effort to much; none where there is no choice."""
    match spec:
        case HNSWIndex():
            return [16, 32, 64, 128, 256, 512, 1024]
        case IVFIndex() | IVFPQIndex():
            lists = _nlist(spec.nlist, items)
            return [2**power for power in range(lists.bit_length()) if 2**power < lists] + [lists]
        case _:
            return []


def with_effort(structure: Structure, number: int) -> Structure:
    """The same structure, searched with another effort."""
    spec = structure.spec
    name = "ef_search" if isinstance(spec, HNSWIndex) else "nprobe"
    changed = spec.model_copy(update={name: number})
    _set_effort(structure.base, changed)
    return replace(structure, spec=changed)


def checked(index: object, spec: IndexSpec, metric: int, vectors: Floats) -> Structure:
    """A structure whose base was read, if that is what it should be for these vectors `(N, D)`.

    Raises:
        ValueError: it is not, in words.
    """
    expected = _CLASSES[spec.kind]
    if not isinstance(index, expected):
        raise ValueError(f"a {type(index).__name__}, expected {expected.__name__}")
    items, dim = vectors.shape
    width = _width(spec, metric, dim)
    wanted_of = {"d": width, "ntotal": items, "metric_type": metric}
    for what, wanted in wanted_of.items():
        found = getattr(index, what)
        if found != wanted:
            raise ValueError(f"{what} {found}, expected {wanted}")
    _set_effort(index, spec)
    # The first vector has the length that all of them were given.
    lifted = isinstance(spec, HNSWIndex) and width > dim
    radius = float(np.linalg.norm(getattr(index, "reconstruct")(0))) if lifted else 0.0  # noqa: B009  has no type
    if isinstance(spec, _CODED):
        rows = widened(vectors, width)
        refined = faiss.IndexRefineFlat(index, faiss.swig_ptr(rows))
        refined.k_factor = spec.refine
        return Structure(spec, refined, width, not isinstance(spec, PQIndex))
    return Structure(spec, index, width, not isinstance(spec, PQIndex), radius)


def on_gpu(structure: Structure) -> Structure | None:
    """A copy in the memory of the first GPU; `None` for kinds that have none there, or not of such codes."""
    spec = structure.spec
    if not isinstance(spec, FlatIndex | IVFIndex | IVFPQIndex):
        return None
    try:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, structure.base)
    except RuntimeError:
        return None
    _set_effort(index, spec)
    if not isinstance(spec, IVFPQIndex):
        return replace(structure, index=index, selects=False, most=_GPU_LIST)
    refined = faiss.IndexRefine(index, structure.index.refine_index)
    refined.k_factor = spec.refine
    return replace(structure, index=refined, selects=False, most=int(_GPU_LIST / spec.refine))


def _settled(spec: IndexSpec, items: int, dim: int) -> IndexSpec:
    """The settings with what was left to be chosen, and no more centroids than the items can train."""
    if items < EXACT_BELOW:
        return FlatIndex(kind="flat")
    changes: dict[str, int] = {}
    if isinstance(spec, IVFIndex | IVFPQIndex):
        changes["nlist"] = _nlist(spec.nlist, items)
        changes["nprobe"] = min(spec.nprobe, changes["nlist"])
    if isinstance(spec, PQIndex | IVFPQIndex):
        changes["m"] = spec.m or max(dim // 4, 1)
        if changes["m"] > dim:
            raise ConfigError(f"index.m: found {spec.m}, expected at most {dim}, the numbers of a vector")
        changes["nbits"] = min(spec.nbits, int(math.log2(items / _POINTS)))
    return spec.model_copy(update=changes)


def _nlist(wanted: int | None, items: int) -> int:
    return max(min(wanted or round(4 * math.sqrt(items)), items // _POINTS), 1)


def _empty(spec: IndexSpec, width: int, metric: int, seed: int) -> Any:  # noqa: ANN401
    match spec:
        case IVFIndex():
            index = faiss.IndexIVFFlat(faiss.IndexFlat(width, metric), width, spec.nlist, metric)
        case HNSWIndex():
            index = faiss.IndexHNSWFlat(width, spec.m, metric)
            index.hnsw.efConstruction = spec.ef_construction
        case PQIndex():
            index = faiss.IndexPQ(width, spec.m, spec.nbits, metric)
            index.pq.cp.seed = seed
        case IVFPQIndex():
            index = faiss.IndexIVFPQ(faiss.IndexFlat(width, metric), width, spec.nlist, spec.m, spec.nbits, metric)
            index.pq.cp.seed = seed
        case SQIndex():
            index = faiss.IndexScalarQuantizer(width, _SQ[spec.type], metric)
        case _:
            index = faiss.IndexFlat(width, metric)
    if isinstance(spec, IVFIndex | IVFPQIndex):
        index.cp.seed = seed
    _set_effort(index, spec)
    return index


def _set_effort(index: Any, spec: IndexSpec) -> None:  # noqa: ANN401
    match spec:
        case IVFIndex() | IVFPQIndex():
            index.nprobe = spec.nprobe
        case HNSWIndex():
            index.hnsw.efSearch = spec.ef_search
        case _:
            pass


def _parameters(spec: IndexSpec, share: float, selector: Any) -> Any:  # noqa: ANN401
    """Of a search among a share of the items."""
    match spec:
        case IVFIndex() | IVFPQIndex():
            kind = faiss.IVFPQSearchParameters if isinstance(spec, IVFPQIndex) else faiss.SearchParametersIVF
            assert spec.nlist is not None
            found = kind(sel=selector, nprobe=min(math.ceil(spec.nprobe / share), spec.nlist))
        case HNSWIndex():
            # Wider than the share says: the best that qualify lie farther apart than the best.
            wider = min(1 / share**2, 4.0) / share
            found = faiss.SearchParametersHNSW(sel=selector, efSearch=math.ceil(spec.ef_search * wider))
        case _:
            found = faiss.SearchParameters(sel=selector)
    if isinstance(spec, _CODED):
        return faiss.IndexRefineSearchParameters(k_factor=spec.refine, base_index_params=found)
    return found
