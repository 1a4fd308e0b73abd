"""A simulated world of 1 M events, 50 k users and 20 k items: making it, the whole pipeline on it, and a run again."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelines.store import Store

EVENTS, USERS, ITEMS = 1_000_000, 50_000, 20_000


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data, workspace = Path(folder) / "synth", Path(folder) / "workspace"
        size = ("--events", str(EVENTS), "--users", str(USERS), "--items", str(ITEMS))
        made = _seconds("data", "synth", *size, "--folder", str(data))
        pipeline = ("run", str(data / "config.yaml"), "--set", f"workspace={workspace}")
        whole, again = _seconds(*pipeline), min(_seconds(*pipeline) for _ in range(3))
        artifacts = Store(workspace).latest()
        found = json.loads((artifacts["evaluate"].folder / "metrics.json").read_text(encoding="utf-8"))
        truth = {name: round(value, 4) for name, value in found.items() if name.endswith("/true_ndcg@10")}
        return {
            "ours": round(whole, 1),
            "unit": "s",
            "target": 600,
            "peak_memory_mb": round(max(artifact.peak_memory_mb for artifact in artifacts.values())),
            "again_seconds": round(again, 2),
            "events_per_second_simulated": round(EVENTS / made),
            "share_of_oracle": {name.removesuffix("/true_ndcg@10"): share for name, share in truth.items()},
            "regret@10": round(found["funnel/regret@10"], 4),
        }


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "recsys", *arguments], check=True, capture_output=True)
    return time.perf_counter() - began
