"""Samples a second of DIN and DIEN through the public training path, beside the arithmetic limit of each.

A log of 200,000 rows: a user of 20,000, a candidate of 50,000 items in 500 categories, and what the user did before, up
to 50 items for DIN and 20 for DIEN, 14 and 10 on average. Embeddings of 16, a network of 256, 128, 64, batches of 4096,
Adam at 0.003, two epochs.

The limit is what the machine could do if it did nothing but the matrix products of a step, forward and backward, over
real past items alone, at the rate at which it multiplies two large matrices: torch's, or that of `recsys.nn.linear`
where it is higher. It stands in the peer's place.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec
from recsys.losses.pointwise import bce
from recsys.metrics.classification import auc
from recsys.nn.linear import linear
from recsys.ranking.configs import DIENConfig, DINConfig, RankerConfig
from recsys.ranking.registry import build_ranker
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import predict, seeded, train

ROWS, UNSEEN, BATCH, EPOCHS, ROUNDS = 200_000, 50_000, 4096, 2, 3
USERS, ITEMS, CATEGORIES = 20_000, 50_000, 500
NETWORK: dict[str, Any] = {"embedding_dim": 16, "hidden": (256, 128, 64), "dropout": 0, "embedding_dropout": 0}
RANKERS: dict[str, RankerConfig] = {
    "din": DINConfig(kind="din", **NETWORK, attention_hidden=(32,), history_length=50),
    "dien": DIENConfig(kind="dien", **NETWORK, history_length=20),
}
SQUARE = 2048


def run() -> dict[str, Any]:
    rates = {"torch": _products_a_second(functional.linear), "recsys": _products_a_second(linear)}
    ours, limits, areas = {}, {}, {}
    for kind, config in RANKERS.items():
        samples, unseen = (_log(rows, config.history_length, seed) for rows, seed in ((ROWS, 0), (UNSEEN, 1)))
        rounds = [_trained(config, samples, unseen, seed) for seed in range(ROUNDS)]
        speed, areas[kind] = np.median(rounds, axis=0).round(4).tolist()
        ours[kind] = round(speed)
        limits[kind] = round(max(rates.values()) / _products_a_sample(config, samples))
    return {
        "unit": "samples/s",
        "ours": ours,
        "peer": {"name": "matrix products alone", **limits},
        "ratio": {kind: round(speed / limits[kind], 2) for kind, speed in ours.items()},
        "quality": {"auc": areas},
        "gemm_gflops": {name: round(rate / 1e9) for name, rate in rates.items()},
        "target": "ratio 0.5",
    }


def _products_a_second(product: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Floating-point operations a second, two for each multiply-add, of large matrices; the best of five."""
    one, other = torch.randn(SQUARE, SQUARE), torch.randn(SQUARE, SQUARE)
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        product(one, other)
        seconds.append(time.perf_counter() - began)
    return 2 * SQUARE**3 / min(seconds[1:])


def _products_a_sample(config: RankerConfig, samples: Samples) -> float:
    """Floating-point operations of the matrix products of a step, for each sample.

    Counted at two lengths of the history, and taken between them at the mean length: padding is no work that has to be
    done.
    """
    real = samples.inputs[HISTORY_MASK.name].sum(axis=1)

    def counted(length: int) -> float:
        rows = np.flatnonzero(real >= length)[:64]
        inputs = {name: torch.from_numpy(values[rows]) for name, values in samples.inputs.items()}
        inputs |= {name: values[:, :length] for name, values in inputs.items() if name.startswith("history.")}
        model = build_ranker(config, _spec(length))
        with FlopCounterMode(display=False) as counter:
            loss = bce(model(inputs), torch.ones(len(rows), 1, 1))
            loss.backward()
        return counter.get_total_flops() / len(rows)

    few, many = 2, config.history_length
    return counted(few) + (counted(many) - counted(few)) * (float(real.mean()) - few) / (many - few)


def _trained(config: RankerConfig, samples: Samples, unseen: Samples, seed: int) -> tuple[float, float]:
    """Samples a second, the fit of the inputs included, and AUC."""
    optimiser = {"kind": "adam", "learning_rate": 3e-3, "schedule": "constant"}
    training = TrainingConfig.model_validate({"epochs": EPOCHS, "batch_size": BATCH, "optimiser": optimiser})
    with seeded(seed):
        model = build_ranker(config, _spec(config.history_length))
    began = time.perf_counter()
    model.fit_inputs(samples)
    train(model, bce, samples, training, seed=seed, log=lambda *_: None)
    seconds = time.perf_counter() - began
    return EPOCHS * ROWS / seconds, auc(unseen.labels[:, 0], predict(model, unseen)[:, 0])


def _spec(length: int) -> InputSpec:
    compared = [("item_id", ITEMS + 2), ("category", CATEGORIES + 2)]
    past = [Field(f"history.{name}", rows, 1, f"item.{name}") for name, rows in compared]
    own = [Field(f"item.{name}", rows, 1, f"item.{name}") for name, rows in compared]
    return InputSpec((Field("user.user_id", USERS + 2, 1, "user.user_id"), *past, HISTORY_MASK, *own), length)


def _log(rows: int, length: int, seed: int) -> Samples:
    """Rows whose label is, seen through noise, whether the candidate's category is in the history: in half it is."""
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.geometric(1 / 15, rows) - 1, length)
    real = np.arange(length) < lengths[:, None]
    past = np.where(real, _popular(rng, (rows, length)), 0)
    item = _popular(rng, (rows, 1))
    alike = past[np.arange(rows), rng.integers(np.maximum(lengths, 1))][:, None]
    item = np.where((rng.random((rows, 1)) < 0.5) & (alike > 0), (alike + CATEGORIES - 2) % ITEMS + 2, item)
    category = {"history": np.where(real, past % CATEGORIES + 2, 0), "item": item % CATEGORIES + 2}
    chance = np.where((category["history"] == category["item"]).any(axis=1), 0.6, 0.2)
    labels = (rng.random(rows) < chance).astype(np.float32)[:, None]
    inputs = {
        "user.user_id": rng.integers(2, USERS + 2, rows),
        "history.item_id": past,
        "history.category": category["history"],
        HISTORY_MASK.name: real.astype(np.float32),
        "item.item_id": item,
        "item.category": category["item"],
    }
    return Samples(inputs, labels, np.ones(labels.shape, dtype=bool), BATCH, pool=16)


def _popular(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.int64]:
    return np.minimum((rng.pareto(1.1, shape) * ITEMS / 50).astype(np.int64), ITEMS - 1) + 2
