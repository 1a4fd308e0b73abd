"""Gowalla_m1, Recall@20 / NDCG@20 of the test window; `--data` names the folder with train.txt, valid.txt and test.txt.

Published (BARS matching leaderboard): ItemCF .1570/.1214, Item2Vec .1326/.1057, MF-BPR .1627/.1378, EASE .1765/.1467,
UltraGCN .1862/.1580, SimpleX .1872/.1557.
"""

from pathlib import Path
from typing import Any

from benchmarks.published import measure

PUBLISHED = {
    "itemcf": (0.1570, 0.1214),
    "item2vec": (0.1326, 0.1057),
    "ease": (0.1765, 0.1467),
    "best": (0.1872, 0.1580),
}


def run(data: Path) -> dict[str, Any]:
    files = {"recall": data / "train.txt", "rank": data / "valid.txt", "test": data / "test.txt"}
    figures = {"recall@20": "recall@20", "ndcg@20": "ndcg@20"}
    found = measure("configs/gowalla.yaml", Path("data/gowalla"), files, figures)
    return {**found, "unit": "Recall@20, NDCG@20", "published": PUBLISHED}
