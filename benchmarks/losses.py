"""Losses against each other on impression lists, and against LightGBM's lambdarank on the lists it comes with.

Lists: how much a request is clicked at all hangs on the user, who is no input, and users who click much are shown other
items than users who click little. A loss of single candidates takes that for a reason to click; losses that compare
within a request do not. Every loss trains the same network on the same lists.

With `--data FOLDER` (`rank.train`, `rank.test` and their `.query`, LibSVM): the network's settings, its loss and
LightGBM's settings are chosen by NDCG@3 on training queries that are left out in turn, then both are trained on all of
these, from several seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy.stats import ttest_1samp
from torch import Tensor, nn

from recsys.losses.base import Loss
from recsys.losses.config import LossConfig
from recsys.losses.registry import LOSSES, build_loss
from recsys.metrics.bootstrap import paired
from recsys.training.batches import Samples
from recsys.training.config import OptimiserConfig, TrainingConfig
from recsys.training.trainer import predict, seeded, train

Floats = NDArray[np.float32]
FEATURES = "item.features"
POINTWISE = ("bce", "focal", "mse")
COMPARING = tuple(kind for kind in LOSSES if kind not in (*POINTWISE, "bpr"))
WORLDS = 12
GRADED = ("mse", *COMPARING, "mse + lambdarank")
"""Losses for labels above 1."""
LISTWISE = tuple(kind for kind in COMPARING if kind not in ("ranknet", "hinge", "infonce"))
"""Of which the best by validation is compared with LightGBM."""
FOLDS, SEEDS = 5, 5


@dataclass(frozen=True, slots=True)
class Network:
    """Settings of the network and its training."""

    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    dropout: float = 0.0
    dropout_inputs: float = 0.0

    def config(self) -> TrainingConfig:
        optimiser = OptimiserConfig(learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        return TrainingConfig(
            epochs=self.epochs, batch_size=self.batch_size, optimiser=optimiser, patience=0, threads=1
        )


class Scorer(nn.Module):
    """`(B, C)` scores of `(B, C, F)` features."""

    def __init__(self, width: int, settings: Network) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Dropout(settings.dropout_inputs)]
        for size in settings.hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(settings.dropout)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        scores: Tensor = self.layers(inputs[FEATURES]).squeeze(-1)
        return scores


def run(data: Path | None = None) -> dict[str, Any]:
    impressions = on_impressions()
    found: dict[str, Any] = {
        "ours": {"impressions": impressions["means"]},
        "unit": f"NDCG@10 on impression lists, mean of {WORLDS} worlds",
        "quality": {"impressions": {name: impressions[name] for name in ("pointwise", "gain", "p")}},
        "target": "all that compare above all that do not, p < .01",
    }
    if data is not None:
        lists = against_lightgbm(data)
        found["ours"]["lambdarank"] = lists["ours"]
        found["peer"] = {"name": "LightGBM lambdarank", "lambdarank": lists["peer"]}
        found["ratio"] = {"lambdarank": round(lists["ours"] / lists["peer"], 3)}
        found["unit"] += f"; NDCG@3 of {lists['queries']} test queries of lambdarank, mean of {SEEDS} seeds"
        found["quality"]["lambdarank"] = {name: lists[name] for name in ("loss", "difference", "test", "validation")}
        found["target"] += "; at most .02 below LightGBM"
    return found


# Impression lists


def on_impressions(losses: Sequence[str] = (*POINTWISE, *COMPARING), worlds: int = WORLDS) -> dict[str, Any]:
    """NDCG@10 of each loss, and what those that compare gain over the best that does not, with the p-value."""
    settings = Network((32,), epochs=10, batch_size=64, learning_rate=3e-3)
    values: dict[str, list[float]] = {loss: [] for loss in losses}
    for world in range(worlds):
        lists = _impressions(np.random.default_rng(world), 4000)
        order = np.arange(len(lists.labels))
        fitting, test = _some(lists, order[:2000]), _some(lists, order[2000:])
        for loss, quality in values.items():
            model = _fitted(loss, settings, fitting, world)
            quality.append(float(_ndcg(predict(model, test), test, 10).mean()))
    means = {loss: round(float(np.mean(quality)), 4) for loss, quality in values.items()}
    best = max((loss for loss in losses if loss in POINTWISE), key=lambda loss: means[loss])
    gains = {loss: np.subtract(values[loss], values[best]) for loss in losses if loss in COMPARING}
    return {
        "means": means,
        "pointwise": best,
        "gain": {loss: round(float(gain.mean()), 4) for loss, gain in gains.items()},
        "p": {loss: float(f"{ttest_1samp(gain, 0).pvalue:.1g}") for loss, gain in gains.items()},
    }


def _impressions(rng: np.random.Generator, count: int, width: int = 20, features: int = 8) -> Samples:
    """Lists shown to users, and what they clicked: something but not all of it, as no order is told by the others."""
    taste = rng.normal(size=features)
    generous = rng.normal(scale=2.0, size=(count, 1))
    # Who clicks anything is shown more of what nobody likes.
    shift = -0.25 * generous[..., None] * taste / np.linalg.norm(taste)
    x = rng.normal(size=(count, width, features)) + shift
    utility = x @ taste / np.sqrt(features) + np.sin(2 * x[..., 0]) * x[..., 1]
    chance = 1 / (1 + np.exp(1.5 - utility - 2 * generous))
    clicks = rng.random(chance.shape) < chance
    kept = clicks.any(axis=1) & ~clicks.all(axis=1)
    labels = clicks[kept].astype(np.float32)
    return Samples({FEATURES: x[kept].astype(np.float32)}, labels, np.ones(labels.shape, dtype=bool), 64)


# LightGBM's lists


def against_lightgbm(folder: Path, losses: Sequence[str] = GRADED) -> dict[str, Any]:
    """NDCG@3 on the test queries of the listwise loss that validation prefers, and of LightGBM."""
    fitting, test = _standardised(_read(folder, "rank.train"), _read(folder, "rank.test"))
    chosen = {loss: _chosen(loss, fitting) for loss in losses}
    values = {loss: _tested(loss, settings, fitting, test) for loss, (settings, _) in chosen.items()}
    ours = max((loss for loss in losses if loss in LISTWISE), key=lambda loss: chosen[loss][1])
    peer = _lightgbm(fitting, test)
    apart = paired(values[ours], peer, np.random.default_rng(0))
    return {
        "ours": round(float(values[ours].mean()), 4),
        "peer": round(float(peer.mean()), 4),
        "queries": len(test.labels),
        "loss": ours,
        "difference": [round(value, 4) for value in (apart.mean, apart.low, apart.high)],
        "test": {loss: round(float(value.mean()), 4) for loss, value in values.items()},
        "validation": {loss: round(value, 4) for loss, (_, value) in chosen.items()},
    }


def _chosen(loss: str, fitting: Samples) -> tuple[Network, float]:
    """The settings that are best on average where queries are left out, and their NDCG@3."""
    wide = Network((128,), 30, 16, learning_rate=1e-3, weight_decay=0.3, dropout=0.5, dropout_inputs=0.3)
    narrow = Network((64,), 30, 16, learning_rate=2e-3, weight_decay=0.01, dropout=0.3, dropout_inputs=0.2)
    grid = [replace(settings, epochs=epochs) for settings in (wide, narrow) for epochs in (10, 30)]
    found = [(settings, _left_out(loss, settings, fitting)) for settings in grid]
    return max(found, key=lambda pair: pair[1])


def _left_out(loss: str, settings: Network, fitting: Samples) -> float:
    quality = []
    for fold in range(FOLDS):
        kept, held = _cut(fitting, fold)
        quality.append(_ndcg(predict(_fitted(loss, settings, kept, seed=fold), held), held, 3))
    return float(np.concatenate(quality).mean())


def _tested(loss: str, settings: Network, fitting: Samples, test: Samples) -> NDArray[np.float64]:
    """NDCG@3 of each query, mean of the seeds."""
    found = [_ndcg(predict(_fitted(loss, settings, fitting, seed), test), test, 3) for seed in range(SEEDS)]
    return np.mean(found, axis=0)


def _lightgbm(fitting: Samples, test: Samples) -> NDArray[np.float64]:
    """NDCG@3 of each query, of LightGBM with the settings that are best where queries are left out."""
    grid = [
        {"learning_rate": rate, "num_leaves": leaves, "min_data_in_leaf": least}
        for rate, leaves, least in product((0.05, 0.1), (15, 31), (20, 50))
    ]
    rounds, curves = 150, {}
    for number, settings in enumerate(grid):
        folds = [_boosted(settings, *_cut(fitting, fold), rounds, fold)[1] for fold in range(FOLDS)]
        curves[number] = np.mean(folds, axis=0)
    best = max(curves, key=lambda number: float(curves[number].max()))
    count = int(curves[best].argmax()) + 1
    found = [_ndcg(_boosted(grid[best], fitting, test, count, seed)[0], test, 3) for seed in range(SEEDS)]
    return np.mean(found, axis=0)


def _boosted(
    settings: Mapping[str, float], fitting: Samples, held: Samples, rounds: int, seed: int
) -> tuple[Floats, list[float]]:
    """Scores of the held-out queries, and NDCG@3 after each round."""
    import lightgbm

    curve: dict[str, Any] = {}
    sets = [
        lightgbm.Dataset(lists.inputs[FEATURES][lists.mask], lists.labels[lists.mask], group=lists.mask.sum(axis=1))
        for lists in (fitting, held)
    ]
    fixed = {"objective": "lambdarank", "metric": "ndcg", "eval_at": [3], "verbosity": -1, "num_threads": 1}
    drawn = {"seed": seed, "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1}
    record = [lightgbm.record_evaluation(curve)]
    model = lightgbm.train({**fixed, **drawn, **settings}, sets[0], rounds, valid_sets=[sets[1]], callbacks=record)
    scores = np.zeros(held.labels.shape, dtype=np.float32)
    scores[held.mask] = model.predict(held.inputs[FEATURES][held.mask])
    return scores, curve["valid_0"]["ndcg@3"]


def _read(folder: Path, name: str) -> Samples:
    from sklearn.datasets import load_svmlight_file

    rows, labels = load_svmlight_file(str(folder / name), n_features=301)
    counts = np.loadtxt(folder / f"{name}.query", dtype=np.int64)
    mask = np.arange(counts.max()) < counts[:, None]
    x, y = np.zeros((*mask.shape, rows.shape[1]), dtype=np.float32), np.zeros(mask.shape, dtype=np.float32)
    x[mask], y[mask] = rows.toarray(), labels
    return Samples({FEATURES: x}, y, mask, 16)


def _standardised(fitting: Samples, test: Samples) -> tuple[Samples, Samples]:
    """Both with the mean and deviation of the first taken out, which a tree does not notice."""
    rows = fitting.inputs[FEATURES][fitting.mask]
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    found = [
        replace(lists, inputs={FEATURES: (lists.inputs[FEATURES] - mean) / deviation}) for lists in (fitting, test)
    ]
    return found[0], found[1]


def _cut(lists: Samples, fold: int) -> tuple[Samples, Samples]:
    """All queries but those of a fold, and these."""
    order = np.random.default_rng(0).permutation(len(lists.labels))
    held = np.arange(len(order)) % FOLDS == fold
    return _some(lists, order[~held]), _some(lists, order[held])


# Both


def _some(lists: Samples, rows: NDArray[np.int64]) -> Samples:
    inputs = {name: values[rows] for name, values in lists.inputs.items()}
    return replace(lists, inputs=inputs, labels=lists.labels[rows], mask=lists.mask[rows])


def _fitted(loss: str, settings: Network, lists: Samples, seed: int) -> nn.Module:
    with seeded(seed):
        model = Scorer(lists.inputs[FEATURES].shape[2], settings)
    config = settings.config()
    lists = replace(lists, batch_size=config.batch_size)
    train(model, _loss(loss), lists, config, seed=seed, log=lambda *_: None)
    return model


def _loss(text: str) -> Loss:
    return build_loss(TypeAdapter(LossConfig).validate_python(text))


def _ndcg(scores: Floats, lists: Samples, k: int) -> NDArray[np.float64]:
    """NDCG@k of each list with gains 2^y − 1; 1 where there is nothing to gain, as LightGBM has it."""
    gains = np.where(lists.mask, 2.0**lists.labels - 1, 0.0)
    order = np.argsort(-np.where(lists.mask, scores, -np.inf), axis=1, kind="stable")
    counted = (1 / np.log2(np.arange(gains.shape[1]) + 2)) * (np.arange(gains.shape[1]) < k)
    found = (np.take_along_axis(gains, order, axis=1) * counted).sum(axis=1)
    best = (np.sort(gains, axis=1)[:, ::-1] * counted).sum(axis=1)
    return np.divide(found, best, out=np.ones(len(best)), where=best > 0)
