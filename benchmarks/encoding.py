"""Rows a second from columns to model inputs: vocabularies and statistics of 500,000 rows are fitted, then all encoded.

The log is that of `ranker_training`: 20 categories as text, of 10 to 200,000 values with long tails, and five numbers.
The peer's figure is of vocabularies and encoding of as many rows and columns, on two cores. `every_kind` is another
table of 25 columns: 12 text, three of them with 50,000 values, 3 lists, 8 numbers, 2 times. Medians of three rounds.
"""

import time
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.ranker_training import click_log
from recsys.data.config import DataConfig
from recsys.data.tables import Dataset
from recsys.features.config import FeaturesConfig
from recsys.features.encoder import FeatureEncoder

ROWS, ROUNDS = 500_000, 3
PEER, PEER_ROWS = "FuxiCTR", 17_800
_TEXT = pa.large_string()

Columns = dict[str, pa.Array]
Features = dict[str, dict[str, Any]]


def run() -> dict[str, Any]:
    clicks, quality = _measured(*_clicks())
    every_kind, _ = _measured(*_every_kind(np.random.default_rng(0)))
    return {
        "ours": clicks["rows_per_s"],
        "unit": "rows/s",
        "peer": {"name": PEER, "rows_per_s": PEER_ROWS, "source": "measured elsewhere, on 2 cores"},
        "ratio": round(clicks["rows_per_s"] / PEER_ROWS, 1),
        "quality": quality,
        "target": 500_000,
        "clicks": clicks,
        "every_kind": every_kind,
    }


def _measured(columns: Columns, features: Features) -> tuple[dict[str, float], dict[str, float]]:
    """What fitting and encoding cost, and the share of the values of categories that have a row of their own."""
    ids = pa.array(np.zeros(ROWS, dtype=np.int64)).cast(_TEXT)
    log = pa.table({"user_id": ids, "item_id": ids, **columns})
    data = DataConfig.model_validate({"interactions": {"path": "unused"}})
    config = FeaturesConfig.model_validate({"context": features, "history": {"fields": []}})
    every, seconds = np.ones(ROWS, dtype=bool), []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        encoder = FeatureEncoder.fit(config, data, Dataset(log), every)
        fitted = time.perf_counter()
        encoded = encoder.encode("context", log)
        seconds.append((fitted - began, time.perf_counter() - fitted))
    fitting, encoding = (round(float(median), 3) for median in np.median(seconds, axis=0))
    names = [name for name, one in features.items() if one["kind"] == "categorical"]
    values = sum(len(log[name].unique()) for name in names)
    rows = sum(len(np.unique(encoded[f"context.{name}"])) for name in names)
    cost = {"rows_per_s": round(ROWS / (fitting + encoding)), "fitting_s": fitting, "encoding_s": encoding}
    return cost, {"values_with_a_row": round(rows / values, 4)}


def _clicks() -> tuple[Columns, Features]:
    log = click_log(ROWS, seed=1)
    columns = {f"category{n}": pa.array(values).cast(_TEXT) for n, values in enumerate(log["categories"].T)}
    numbers = {f"number{n}": pa.array(values) for n, values in enumerate(log["numbers"].T)}
    kinds = {**dict.fromkeys(columns, "categorical"), **dict.fromkeys(numbers, "standard")}
    return columns | numbers, {name: {"kind": kind} for name, kind in kinds.items()}


def _every_kind(rng: np.random.Generator) -> tuple[Columns, Features]:
    columns: Columns = {}
    features: Features = {}
    for number in range(12):
        size = (10, 1_000, 50_000)[number % 3]
        values = pa.array([f"value {n}" for n in range(size)], _TEXT)
        columns[f"text{number}"] = values.take(pa.array(rng.integers(0, size, ROWS)))
        features[f"text{number}"] = {"kind": "hashed" if number == 11 else "categorical"}
    for number in range(3):
        lengths = rng.integers(0, 4, ROWS)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        values = pa.array([f"tag {n}" for n in range(20)], _TEXT).take(pa.array(rng.integers(0, 20, lengths.sum())))
        columns[f"list{number}"] = pa.ListArray.from_arrays(offsets, values)
        features[f"list{number}"] = {"kind": "multi_categorical"}
    for number, kind in enumerate(["standard", "standard", "min_max", "min_max", "log", "log", "quantile", "quantile"]):
        columns[f"number{number}"] = pa.array(rng.lognormal(size=ROWS))
        features[f"number{number}"] = {"kind": kind}
    for number, part in enumerate(["hour", "weekday"]):
        columns[f"time{number}"] = pa.array(rng.integers(0, 2**50, ROWS), pa.timestamp("us", tz="UTC"))
        features[f"time{number}"] = {"kind": "time", "part": part}
    return columns, features
