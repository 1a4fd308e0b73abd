"""Building and searching every kind of index against bare FAISS at the same settings, in turn; one request end to end.

100,000 clustered vectors of 64 numbers, inner products, 100 found; ratios are medians of ours over theirs.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np
from pydantic import TypeAdapter

from recsys.bundle.format import FusionSpec, Policy
from recsys.features.batch import Codes, Floats, QueryBatch
from recsys.funnel.candidates import CandidateGenerator
from recsys.retrieval.config import IndexConfig
from recsys.retrieval.encoders import PooledEncoder
from recsys.retrieval.index import VectorIndex
from recsys.retrieval.vector import VectorRetriever

ITEMS, DIM, FOUND, BATCH = 100_000, 64, 100, 256
SPECS: dict[str, dict[str, Any]] = {
    "flat": {},
    "ivf": {"nlist": 1024, "nprobe": 32},
    "hnsw": {"m": 16, "ef_construction": 60, "ef_search": 128},
    "pq": {"m": 16, "refine": 4},
    "ivf_pq": {"nlist": 1024, "nprobe": 32, "m": 16, "refine": 4},
    "sq": {"refine": 4},
}
_IP = faiss.METRIC_INNER_PRODUCT
_faiss: Any = faiss


def run() -> dict[str, Any]:
    vectors, queries = _clustered(ITEMS, 0), _clustered(BATCH, 1)
    kinds = {kind: _kind(kind, vectors, queries) for kind in SPECS}
    return {
        "ours": {name: figures["ratio"] for name, figures in kinds.items()},
        "unit": "ours / FAISS: build, search of a batch, search for one request",
        "target": 1.1,
        "seconds_to_build": {name: figures["seconds"] for name, figures in kinds.items()},
        "ms_for_one": {name: figures["ms"] for name, figures in kinds.items()},
        "recall@100 of ours and FAISS": {name: figures["recall"] for name, figures in kinds.items()},
        "request": {"ratio": _request(vectors), "target": 1.5, "of": "encode, search and leave out what was seen"},
    }


def _clustered(count: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((500, DIM))
    vectors: Floats = (centres[rng.integers(0, 500, count)] + 0.7 * rng.standard_normal((count, DIM))).astype(
        np.float32
    )
    return vectors


def _kind(kind: str, vectors: Floats, queries: Floats) -> dict[str, Any]:
    spec: Any = TypeAdapter(IndexConfig).validate_python({"kind": kind, **SPECS[kind]})
    index, bare = VectorIndex(vectors, spec), _bare(kind, vectors)
    builds = _pairs(lambda _: VectorIndex(vectors, spec), lambda _: _bare(kind, vectors), 2 if _slow(kind) else 6)
    batch = _pairs(lambda _: index.search(queries, FOUND), lambda _: bare.search(queries, FOUND), 10)
    one = _pairs(
        lambda turn: index.search(queries[turn : turn + 1], FOUND),
        lambda turn: bare.search(queries[turn : turn + 1], FOUND),
        len(queries),
    )
    return {
        "ratio": [_ratio(pairs) for pairs in (builds, batch, one)],
        "seconds": round(float(np.median([ours for ours, _ in builds])), 2),
        "ms": round(1000 * float(np.median([ours for ours, _ in one])), 3),
        "recall": [
            _recall(index.search(queries, FOUND)[0], vectors, queries),
            _recall(bare.search(queries, FOUND)[1], vectors, queries),
        ],
    }


def _slow(kind: str) -> bool:
    return kind in ("hnsw", "ivf_pq", "pq")


def _recall(found: Codes, vectors: Floats, queries: Floats) -> float:
    exact, _ = VectorIndex(vectors).search(queries, FOUND)
    shares = [len(np.intersect1d(a, b)) / FOUND for a, b in zip(found, exact, strict=True)]
    return round(float(np.mean(shares)), 3)


def _bare(kind: str, vectors: Floats) -> Any:  # noqa: ANN401
    """The same of FAISS itself."""
    given = SPECS[kind]
    index: Any
    match kind:
        case "ivf":
            index = _faiss.IndexIVFFlat(_faiss.IndexFlat(DIM, _IP), DIM, given["nlist"], _IP)
        case "hnsw":
            index = _faiss.IndexHNSWFlat(DIM, given["m"], _IP)
            index.hnsw.efConstruction, index.hnsw.efSearch = given["ef_construction"], given["ef_search"]
        case "pq":
            index = _faiss.IndexPQ(DIM, given["m"], 8, _IP)
        case "ivf_pq":
            index = _faiss.IndexIVFPQ(_faiss.IndexFlat(DIM, _IP), DIM, given["nlist"], given["m"], 8, _IP)
        case "sq":
            index = _faiss.IndexScalarQuantizer(DIM, _faiss.ScalarQuantizer.QT_8bit, _IP)
        case _:
            index = _faiss.IndexFlat(DIM, _IP)
    if "nprobe" in given:
        index.nprobe = given["nprobe"]
    if "refine" in given:
        index = _faiss.IndexRefineFlat(index)
        index.k_factor = given["refine"]
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return index


def _request(vectors: Floats) -> dict[str, float]:
    """One request through a route, against its three steps written out."""
    found = {}
    for kind in ("flat", "ivf"):
        spec: Any = TypeAdapter(IndexConfig).validate_python({"kind": kind, **SPECS[kind]})
        route = VectorRetriever(VectorIndex(vectors, spec), PooledEncoder(vectors, decay=0.9, history=50))
        fusion = FusionSpec(k=60, weights={"route": 1.0}, per_route=FOUND, candidates=FOUND)
        generator = CandidateGenerator({"route": route}, fusion, Policy(exclude_seen="always", recent=50))
        bare = _bare(kind, vectors)
        histories = np.random.default_rng(3).integers(0, ITEMS, (300, 20)).astype(np.int32)
        pairs = _pairs(partial(_asked, generator, histories), partial(_steps, vectors, bare, histories), len(histories))
        found[kind] = _ratio(pairs)
    return found


def _asked(generator: CandidateGenerator, histories: Codes, turn: int) -> None:
    generator.lists(QueryBatch(histories[turn : turn + 1], np.array([20], np.int32), {}))


def _steps(vectors: Floats, index: Any, histories: Codes, turn: int) -> tuple[Codes, Floats]:  # noqa: ANN401
    history = histories[turn]
    past = vectors[history]
    past = past / np.linalg.norm(past, axis=1, keepdims=True)
    query = (0.9 ** np.arange(len(history))[::-1]).astype(np.float32) @ past
    query /= np.linalg.norm(query)
    scores, codes = index.search(query[None], FOUND + len(history))
    new = ~np.isin(codes[0], history)
    return codes[0][new][:FOUND], scores[0][new][:FOUND]


def _pairs(ours: Callable[[int], Any], theirs: Callable[[int], Any], turns: int) -> list[tuple[float, float]]:
    """Seconds of both, one after the other: at even turns ours first, at odd ones theirs."""
    pairs = []
    for turn in range(turns):
        taken = {}
        for call in (ours, theirs) if turn % 2 == 0 else (theirs, ours):
            start = time.perf_counter()
            call(turn)
            taken[call] = time.perf_counter() - start
        pairs.append((taken[ours], taken[theirs]))
    return pairs


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return round(float(np.median([ours / theirs for ours, theirs in pairs])), 2)
