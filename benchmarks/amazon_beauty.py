"""Amazon Beauty, leave last out, HR@10 / NDCG@10; `--data` names the folder with Beauty.txt and its attributes.

Published: SASRec .0605/.0318, TIGER .0648/.0384, SASRec with cross-entropy about .0810/.0457. One item is held out of
each user, so that recall is the hit rate. What the ranker adds is told apart: `over_fusion`, with its interval.
"""

from pathlib import Path
from typing import Any

from benchmarks.published import measure

PUBLISHED = {"sasrec": (0.0605, 0.0318), "sasrec with cross-entropy": (0.0810, 0.0457)}


def run(data: Path) -> dict[str, Any]:
    figures = {"hit_rate@10": "recall@10", "ndcg@10": "ndcg@10", "recall@200": "recall@200"}
    found = measure(
        "configs/amazon-beauty.yaml",
        Path("data/amazon-beauty"),
        {"": data / "Beauty.txt"},
        figures,
        attributes=data / "Beauty_item2attributes.json",
    )
    return {**found, "unit": "HR@10, NDCG@10", "published": PUBLISHED}
