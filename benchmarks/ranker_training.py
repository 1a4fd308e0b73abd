"""Samples a second of one epoch of DeepFM through the public training path, and its AUC; two libraries in turn.

A log of 500,000 rows, 20 categories of 10 to 200,000 values with long tails and five numbers. Clicks are drawn from
first-order terms and five planted pairs. Embeddings of 16, a network of 256, 128, 64, batches of 4096, Adam at 0.001:
the same for all. `--peer-python` names an interpreter that has both libraries (`pip install deepctr-torch requests
torch-rechub`: the first wants requests and does not say so); all train three times in turn, and the median counts.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Field, InputSpec
from recsys.losses.pointwise import bce
from recsys.metrics.classification import auc
from recsys.ranking.configs import DeepFMConfig
from recsys.ranking.registry import build_ranker
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import predict, seeded, train

ROWS, UNSEEN, ROUNDS = 500_000, 100_000, 3
SIZES = [
    *(10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000),
    *(20_000, 50_000, 100_000, 100_000, 200_000, 30, 300, 3000, 30_000, 1000),
]
NUMBERS = 5
PAIRS = ((0, 7), (3, 12), (5, 9), (2, 14), (10, 11))
PEER = Path(__file__).with_name("ranker_training_peer.py")
PEERS = ("deepctr-torch", "torch-rechub")

Log = dict[str, NDArray[Any]]


def run(peer_python: str | None = None) -> dict[str, Any]:
    logs = {name: click_log(rows, seed) for name, rows, seed in (("train", ROWS, 1), ("valid", UNSEEN, 2))}
    rounds: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, log in logs.items():
            np.savez(f"{folder}/{name}.npz", **log)
        for seed in range(ROUNDS):
            rounds.setdefault("ours", []).append(_ours(logs["train"], logs["valid"], seed))
            for peer in PEERS if peer_python is not None else ():
                rounds.setdefault(peer, []).append(_peer(peer_python, folder, peer, seed))
    medians = {who: np.median(found, axis=0) for who, found in rounds.items()}
    speeds = {who: round(float(speed)) for who, (speed, _) in medians.items()}
    areas = {who: round(float(area), 4) for who, (_, area) in medians.items()}
    found: dict[str, Any] = {
        "unit": "samples/s",
        "ours": speeds.pop("ours"),
        "quality": {"auc": areas, "oracle_auc": round(auc(logs["valid"]["label"], logs["valid"]["chance"]), 4)},
    }
    if speeds:
        found |= {"peer": speeds, "ratio": {who: round(found["ours"] / speed, 2) for who, speed in speeds.items()}}
        found["target"] = "ratio 3, and the best AUC"
    return found


def click_log(rows: int, seed: int) -> Log:
    """`categories` `(rows, 20)`, `numbers` `(rows, 5)`, `label`, and the `chance` of it, which nobody sees."""
    world, rng = np.random.default_rng(0), np.random.default_rng(seed)
    categories = np.stack([np.minimum((rng.pareto(1.1, rows) * n / 50).astype(np.int64), n - 1) for n in SIZES], axis=1)
    numbers = rng.random((rows, NUMBERS), dtype=np.float32)
    logit = numbers @ world.normal(0, 0.5, NUMBERS) - 1.5
    for field, size in enumerate(SIZES):
        logit += world.normal(0, 0.3, size)[categories[:, field]]
    for first, second in PAIRS:
        one, other = world.normal(0, 0.25, (SIZES[first], 4)), world.normal(0, 0.25, (SIZES[second], 4))
        logit += 2 * (one[categories[:, first]] * other[categories[:, second]]).sum(axis=1)
    chance = 1 / (1 + np.exp(-logit))
    label = (rng.random(rows) < chance).astype(np.float32)
    return {"categories": categories, "numbers": numbers, "label": label, "chance": chance}


def _ours(fitting: Log, unseen: Log, seed: int) -> tuple[float, float]:
    """Samples a second, the fit of the inputs included, and AUC."""
    spec, samples = _spec(), _samples(fitting)
    config = DeepFMConfig(kind="deepfm", embedding_dim=16, hidden=(256, 128, 64), dropout=0, embedding_dropout=0)
    optimiser = {"kind": "adam", "learning_rate": 1e-3, "schedule": "constant"}
    training = TrainingConfig.model_validate({"epochs": 1, "batch_size": 4096, "optimiser": optimiser})
    with seeded(seed):
        model = build_ranker(config, spec)
    began = time.perf_counter()
    model.fit_inputs(samples)
    train(model, bce, samples, training, seed=seed, log=lambda *_: None)
    seconds = time.perf_counter() - began
    return ROWS / seconds, auc(unseen["label"], predict(model, _samples(unseen))[:, 0])


def _spec() -> InputSpec:
    """Every other category is the request's: which side a column is on changes nothing where a group is one row."""
    categories = [Field(f"{_side(n)}.c{n}", size + 2, 1, f"c{n}") for n, size in enumerate(SIZES)]
    return InputSpec((*categories, *(Field(f"item.i{n}", 0, 1, "") for n in range(NUMBERS))), 1)


def _side(field: int) -> str:
    return "item" if field % 2 else "user"


def _samples(log: Log) -> Samples:
    inputs: dict[str, NDArray[Any]] = {}
    for field in range(len(SIZES)):
        rows = log["categories"][:, field] + 2
        inputs[f"{_side(field)}.c{field}"] = rows if _side(field) == "user" else rows[:, None]
    inputs |= {f"item.i{n}": log["numbers"][:, [n]] for n in range(NUMBERS)}
    labels = log["label"][:, None]
    return Samples(inputs, labels, np.ones(labels.shape, dtype=bool), 4096)


def _peer(python: str, folder: str, peer: str, seed: int) -> tuple[float, float]:
    settings = {"sizes": SIZES, "numbers": NUMBERS, "hidden": [256, 128, 64], "batch_size": 4096, "seed": seed}
    command = [python, str(PEER), peer, folder, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} in {python}: ended with {done.returncode}, expected 0\n{done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    scores = np.load(f"{folder}/scores.npy")
    return told["samples_per_s"], auc(np.load(f"{folder}/valid.npz")["label"], scores)
