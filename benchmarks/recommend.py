"""One user's `recommend` through the library, the demo's bundle loaded: time of a request, and of the first one."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.funnel import CONFIG, demo_workspace
from recsys.funnel.requests import Request
from recsys.funnel.runtime import Funnel
from recsys.release.registry import serving_bundle
from recsys.serving.server import limit_threads

REQUESTS = 1000


def run() -> dict[str, Any]:
    limit_threads()
    bundles = demo_workspace(CONFIG) / "bundles"
    began = time.perf_counter()
    funnel = Funnel.load(serving_bundle(Path(bundles)))
    load = time.perf_counter() - began
    users = funnel.parts.users.ids.to_pylist()
    rng = np.random.default_rng(0)
    seconds = [_timed(funnel, users[user]) for user in rng.integers(0, len(users), REQUESTS)]
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return {
        "ours": round(float(p50), 2),
        "unit": "ms, median",
        "target": 5,
        "p99": round(float(p99), 2),
        "load_and_verify_s": round(load, 2),
    }


def _timed(funnel: Funnel, user: str) -> float:
    began = time.perf_counter()
    funnel.recommend([Request(user_id=user)], 10)
    return time.perf_counter() - began
