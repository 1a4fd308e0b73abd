"""Published data sets in their published protocols: every stage's lists, from the bundle that serves."""

import json
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.funnel import demo_workspace
from pipelines.bundle import BUNDLE
from pipelines.inputs import Features, Log, request_queries, withheld_length
from pipelines.store import Artifact, Store
from recsys.config import Config
from recsys.data.lists import convert_lists
from recsys.data.split_config import TEST
from recsys.evaluation.results import FUNNEL, FUSION, ROUTE
from recsys.features.history import window_requests
from recsys.funnel.runtime import Funnel
from recsys.settings import load_settings

__all__ = ["measure"]


def measure(
    config: str, folder: Path, files: dict[str, Path], figures: dict[str, str], *, attributes: Path | None = None
) -> dict[str, Any]:
    """Makes the tables, brings the pipeline up to date, and returns its figures.

    With a ranker also what the funnel has more than the fused list in NDCG@10, with its 95 % interval.

    Args:
        config: the configuration, which reads its tables from `folder`.
        folder: where the tables go.
        files: lists by window.
        figures: what to return of every stage: its name here to its name in `metrics.json`.
        attributes: of the items.
    """
    convert_lists(files, folder, attributes=attributes)
    artifacts = Store(demo_workspace(config, "tracking.kind=none")).latest()
    found = json.loads((artifacts["evaluate"].folder / "metrics.json").read_text(encoding="utf-8"))
    stages = [name.removesuffix("/recall@10") for name in found if name.endswith("/recall@10")]
    ranked = [FUNNEL] if "ranking" in artifacts else []
    kept = [name for name in stages if name in (FUSION, *ranked) or (name.startswith(ROUTE) and "/" not in name)]
    over = f"{FUNNEL}_vs_{FUSION}/ndcg@10"
    gain = {part: round(found[f"{over}{part}"], 4) for part in ("", "/low", "/high")}
    return {
        "ours": {name: {label: round(found[f"{name}/{key}"], 4) for label, key in figures.items()} for name in kept},
        **({"over_fusion": gain} if ranked else {}),
        "seconds": {name: round(artifact.seconds) for name, artifact in artifacts.items() if artifact.seconds > 1},
        "peak_memory_mb": round(max(artifact.peak_memory_mb for artifact in artifacts.values())),
        "retrieval": _retrieval(config, artifacts),
    }


def _retrieval(config: str, artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Seconds in which every route answers all requests of the test window, withheld items taken out."""
    log, features = Log.load(artifacts["split"].folder), Features.load(artifacts["features"].folder)
    funnel = Funnel.load(artifacts["bundle"].folder / BUNDLE)
    settings = load_settings(Config, config)
    histories = log.histories(settings)
    requests = window_requests(log.events, histories, TEST, withheld=withheld_length(settings))
    ingested = artifacts["ingest"].folder
    seconds = {}
    for name in funnel.parts.generator.retrievers:
        queries = request_queries(requests, histories=histories, features=features, ingested=ingested)
        start = perf_counter()
        funnel.parts.generator.only(name).lists(queries)
        seconds[name] = round(perf_counter() - start, 1)
    depth = funnel.parts.generator.fusion.per_route
    return {"requests": len(requests), "depth": depth, "seconds": seconds, "sum": round(sum(seconds.values()), 1)}
