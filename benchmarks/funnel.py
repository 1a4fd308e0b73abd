"""MovieLens 100K, 80/10/10 per user in order, full ranking: the funnel's quality on the test window, and its cost.

Measured on the same protocol elsewhere (RecBole 1.2.1, defaults): EASE has Recall@10 .1208 and NDCG@10 .1272.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.store import Store
from recsys.config import Config
from recsys.settings import load_settings

CONFIG = "configs/movielens-100k.yaml"
PEER = {"name": "RecBole EASE, published protocol", "recall@10": 0.1208, "ndcg@10": 0.1272}


def run() -> dict[str, Any]:
    workspace = demo_workspace(CONFIG)
    artifacts = Store(workspace).latest()
    found = json.loads((artifacts["evaluate"].folder / "metrics.json").read_text(encoding="utf-8"))
    best = next(name for name in found if name.startswith("funnel_vs_route.") and name.endswith("ndcg@10"))
    return {
        "ours": round(found["funnel/ndcg@10"], 4),
        "unit": "NDCG@10",
        "target": 0.205,
        "recall@10": round(found["funnel/recall@10"], 4),
        "over_best_route": {part: round(found[f"{best}{part}"], 4) for part in ("", "/low", "/high")},
        "peer": PEER,
        "seconds": round(sum(artifact.seconds for artifact in artifacts.values()), 1),
        "peak_memory_mb": round(max(artifact.peak_memory_mb for artifact in artifacts.values())),
    }


def demo_workspace(config: str, *overrides: str) -> Path:
    """Brings a configuration's pipeline up to date and returns its workspace."""
    settings = load_settings(Config, config, overrides=overrides)
    flags = [part for override in overrides for part in ("--set", override)]
    subprocess.run([sys.executable, "-m", "recsys", "run", config, *flags], check=True, stdout=subprocess.DEVNULL)
    return Path(settings.workspace)
