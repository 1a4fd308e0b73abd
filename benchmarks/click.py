"""MovieLens 100K, rating ≥ 4 as a click, random 80/10/10: DeepFM's AUC, mean over five splits.

Measured on the same protocol elsewhere (RecBole): FM .7804, Wide&Deep .7830, DeepFM .7833.
"""

import json
from typing import Any

import numpy as np

from benchmarks.funnel import demo_workspace
from pipelines.store import Store

CONFIG = "configs/movielens-100k-click.yaml"
SEEDS = (1, 2, 3, 4, 5)


def run() -> dict[str, Any]:
    found = [_auc(seed) for seed in SEEDS]
    mean, deviation = float(np.mean(found)), float(np.std(found))
    return {
        "ours": round(mean, 4),
        "unit": "AUC, mean of five splits",
        "target": 0.780,
        "deviation": round(deviation, 4),
        "splits": [round(value, 4) for value in found],
        "peer": {"name": "RecBole DeepFM", "auc": 0.7833},
    }


def _auc(seed: int) -> float:
    workspace = f"workspace/movielens-100k-click-{seed}"
    folder = demo_workspace(CONFIG, f"seed={seed}", f"workspace={workspace}", "tracking.kind=none")
    evaluated = Store(folder).latest()["evaluate"].folder
    return float(json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))["ranker/auc"])
