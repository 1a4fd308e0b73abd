"""Films nobody has rated yet: MovieLens 100K, where 150 films lose all ratings before the last tenth of each user's.

Full ranking of all films. The share of positives among the first 20 (micro-averaged), of all films and of the new ones:
routes that learn from events alone can find none of those. By title and genres, and by title alone.
"""

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.funnel import CONFIG, demo_workspace
from pipelines.bundle import BUNDLE
from pipelines.inputs import Features, Log, request_queries, withheld_length
from pipelines.store import Store
from recsys.config import Config
from recsys.data.public import ensure
from recsys.data.split_config import TEST
from recsys.features.history import window_requests
from recsys.funnel.runtime import Funnel
from recsys.metrics.ranking import relevance
from recsys.settings import load_settings

FILMS, MIN_RATINGS, K = 150, 20, 20
TABLE = Path("data/new-items/interactions.csv")
ROUTES: dict[str, dict[str, Any]] = {
    "itemcf": {"kind": "itemcf"},
    "bm25": {"kind": "bm25"},
    "tfidf": {"kind": "tfidf"},
    "word2vec": {"kind": "text_vectors"},
    "fasttext": {"kind": "text_vectors", "subwords": {}},
    "bm25_title": {"kind": "bm25", "columns": ["title"]},
    "word2vec_title": {"kind": "text_vectors", "columns": ["title"]},
    "fasttext_title": {"kind": "text_vectors", "columns": ["title"], "subwords": {}},
}


def run(sentence_model: Path | None = None) -> dict[str, Any]:
    routes = dict(ROUTES)
    if sentence_model is not None:
        sentence = {"kind": "sentence", "model": str(sentence_model)}
        routes |= {"sentence": sentence, "sentence_title": {**sentence, "columns": ["title"]}}
    plain = load_settings(Config, CONFIG)
    ensure(plain.data)
    _write_log(Path(plain.data.interactions.path))
    overrides = (
        *("workspace=workspace/new-items", "tracking.kind=none", "data.dataset=null", "split={kind: given}"),
        *(f"data.interactions.path={TABLE}", "data.interactions.window=window", "ranking=null"),
        *(f"routes={json.dumps(routes)}", "fusion.weights=equal"),
    )
    return _found(Store(demo_workspace(CONFIG, *overrides)), load_settings(Config, CONFIG, overrides=overrides))


def _write_log(path: Path) -> None:
    """The log with a window of each event, without the new films' events before the test."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["user_id"], int(row["timestamp"])))
    counts = Counter(row["item_id"] for row in rows)
    known = sorted(film for film, count in counts.items() if count >= MIN_RATINGS)
    new = {*np.random.default_rng(0).choice(known, FILMS, replace=False).tolist()}
    users = defaultdict(list)
    for row in rows:
        users[row["user_id"]].append(row)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "window"])
        writer.writeheader()
        for own in users.values():
            for at, row in enumerate(own):
                window = "recall" if at < 0.8 * len(own) else "valid" if at < 0.9 * len(own) else "test"
                if window == "test" or row["item_id"] not in new:
                    writer.writerow({**row, "window": window})


def _found(store: Store, settings: Config) -> dict[str, Any]:
    """Shares of the positives that each route finds, from the bundle that serves."""
    artifacts = store.latest()
    log, features = Log.load(artifacts["split"].folder), Features.load(artifacts["features"].folder)
    histories = log.histories(settings)
    requests = window_requests(log.events, histories, TEST, withheld=withheld_length(settings))
    queries = request_queries(requests, histories=histories, features=features, ingested=artifacts["ingest"].folder)
    seen = np.bincount(log.events.item[log.events.window != TEST], minlength=len(log.items)) > 0
    new = ~seen[requests.positives]
    shares = {}
    for name, (codes, _) in Funnel.load(artifacts["bundle"].folder / BUNDLE).parts.generator.lists(queries).items():
        hits = relevance(codes[:, :K], requests.offsets, requests.positives)
        of_new = hits & ~seen[np.maximum(codes[:, :K], 0)]
        shares[name] = {"all": round(float(hits.sum() / len(new)), 4), "new": round(float(of_new.sum() / new.sum()), 4)}
    return {
        "ours": shares,
        "unit": f"share of positives in the top {K}",
        "positives": len(new),
        "of_new": int(new.sum()),
    }
