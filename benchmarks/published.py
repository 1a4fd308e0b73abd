"""Published data sets in their published protocols: every route and the fused list, from the bundle that serves."""

import json
from pathlib import Path
from typing import Any

from benchmarks.funnel import demo_workspace
from pipelines.store import Store
from recsys.data.lists import convert_lists
from recsys.evaluation.results import FUSION, ROUTE

__all__ = ["measure"]


def measure(
    config: str, folder: Path, files: dict[str, Path], figures: dict[str, str], *, attributes: Path | None = None
) -> dict[str, Any]:
    """Makes the tables, brings the pipeline up to date, and returns its figures.

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
    kept = [name for name in stages if name == FUSION or (name.startswith(ROUTE) and "/" not in name)]
    return {
        "ours": {name: {label: round(found[f"{name}/{key}"], 4) for label, key in figures.items()} for name in kept},
        "seconds": {name: round(artifact.seconds) for name, artifact in artifacts.items() if artifact.seconds > 1},
        "peak_memory_mb": round(max(artifact.peak_memory_mb for artifact in artifacts.values())),
    }
