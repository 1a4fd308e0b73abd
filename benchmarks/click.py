"""MovieLens 100K, rating ≥ 4 as a click, random 80/10/10: the AUC of rankers, mean over five splits.

Measured on the same protocol elsewhere (RecBole): FM .7804, Wide&Deep .7830, DeepFM .7833. A split's AUC has a standard
error of .0045, the same for all: what one ranker gains over FM is compared split by split (paired t).
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from benchmarks.funnel import demo_workspace
from pipelines.store import Store

CONFIG = "configs/movielens-100k-click.yaml"
SEEDS = (1, 2, 3, 4, 5)
DEEP = ("widedeep", "deepfm", "dcnv2", "xdeepfm", "autoint", "finalmlp")


def run() -> dict[str, Any]:
    found = {kind: np.array([_auc(kind, seed) for seed in SEEDS]) for kind in ("fm", *DEEP)}
    return {
        "ours": {kind: round(float(values.mean()), 4) for kind, values in found.items()},
        "unit": "AUC, mean of five splits",
        "target": {"fm": 0.777, "each other": 0.780},
        "peer": {"name": "RecBole", "fm": 0.7804, "widedeep": 0.7830, "deepfm": 0.7833},
        "splits": {kind: [round(float(value), 4) for value in values] for kind, values in found.items()},
        "above_fm_p": {kind: _p(found[kind], found["fm"]) for kind in DEEP},
    }


def _p(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How likely so large a gain would be if there were none."""
    return round(float(ttest_rel(one, other, alternative="greater").pvalue), 4)


def _auc(kind: str, seed: int) -> float:
    workspace = f"workspace/movielens-100k-click-{kind}-{seed}"
    changed = (f"ranking.model.kind={kind}", f"seed={seed}", f"workspace={workspace}", "tracking.kind=none")
    evaluated = Store(demo_workspace(CONFIG, *changed)).latest()["evaluate"].folder
    return float(json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))["ranker/auc"])
