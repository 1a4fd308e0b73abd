"""Rankers on simulated worlds: do they come in the order in which they can see what was planted?

Two worlds of 200,000 impressions in ten days, without position bias, so that the true probability of each click is
known. In `crosses`, clicks follow segment × category, age × price and a parity of three fields as much as taste; in
`interests` what the last clicks opened up, which moves on by a category with each click and fades in two requests.
Each ranker is a run of the pipeline on the labelled rows: the best epoch is that of the last day but one, and what is
reported is what the bundle says of the last day. Settings were chosen on the last day but one of other seeds.

The share of the oracle is (AUC − ½) / (AUC of the true probabilities − ½); that of the entropy is, in the same way,
what a ranker takes off the log loss of the bare click rate.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from pipelines.run import run_pipeline
from recsys.config import Config
from recsys.data.synthetic.create import simulate
from recsys.data.synthetic.world import World
from recsys.metrics.classification import auc, logloss
from recsys.settings import load_settings

SEEDS = (0, 1, 2, 3, 4)
EVENTS = 200_000
COMMON = (
    "tracking.kind=none",
    "evaluation.oracle=null",
    "routes={popular: {kind: popular}}",
    "refit=none",
    "ranking.samples={kind: events}",
    "ranking.training.batch_size=64",
    "data.interactions.context={}",
    "features.context={}",
    "features.user={user_id: {kind: categorical}, age_bucket: {kind: categorical}, country: {kind: categorical}, "
    "segment: {kind: categorical}}",
    "features.item={item_id: {kind: categorical}, category: {kind: multi_categorical, max_length: 2}, "
    "price: {kind: quantile, buckets: 10}}",
    "features.history={length: 10, fields: [item_id, category]}",
)
"""Beside the configuration that comes with a world; a batch is of 64 lists of ten."""
DEEP = "embedding_dim: 16, embedding_dropout: 0, dropout: 0, hidden: [128, 64]"


@dataclass(frozen=True, slots=True)
class Ranker:
    """A ranker's settings: `ranking.model`, and what changes of `ranking.training`."""

    model: str
    epochs: int
    learning_rate: float
    embedding_weight_decay: float = 0.0

    def overrides(self) -> tuple[str, ...]:
        optimiser = f"{{learning_rate: {self.learning_rate}, embedding_weight_decay: {self.embedding_weight_decay}}}"
        return (
            f"ranking.model={self.model}",
            f"ranking.training.epochs={self.epochs}",
            f"ranking.training.optimiser={optimiser}",
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A world and the rankers that are compared on it.

    Attributes:
        world: parameters of `World`.
        rankers: by name.
        order: names of which the second comes after the first, with `<` or `<=` between them.
    """

    world: Mapping[str, float]
    rankers: Mapping[str, Ranker]
    order: Sequence[str]


PARTS = {
    "crosses": Part(
        {"cross": 2.0, "price_cross": 1.5, "parity": 1.5, "session": 0.0, "drift": 0.0},
        {
            "lr": Ranker("{kind: lr}", 4, 0.01),
            "fm": Ranker("{kind: fm, embedding_dim: 16, embedding_dropout: 0}", 6, 0.005, 0.1),
            "deepfm": Ranker(f"{{kind: deepfm, {DEEP}}}", 5, 0.003, 0.1),
            "dcnv2": Ranker(f"{{kind: dcnv2, {DEEP}}}", 5, 0.003, 0.1),
        },
        ("lr < fm", "fm <= deepfm", "fm <= dcnv2", "deepfm < oracle", "dcnv2 < oracle"),
    ),
    "interests": Part(
        {"session": 4.0, "session_decay": 0.4, "taste": 0.7},
        {
            "deepfm": Ranker(f"{{kind: deepfm, {DEEP}}}", 4, 0.003, 0.1),
            "din": Ranker(f"{{kind: din, {DEEP}}}", 4, 0.01, 0.1),
            "dien": Ranker(f"{{kind: dien, {DEEP}, auxiliary: 0.2}}", 4, 0.01, 1.0),
        },
        ("deepfm < din", "din <= dien", "dien < oracle"),
    ),
}


def run() -> dict[str, Any]:
    return {
        "ours": {name: judged(part, measured(part, SEEDS)) for name, part in PARTS.items()},
        "unit": "share of the oracle, mean and deviation over seeds; p values of paired t tests on the AUC, one-sided",
        "target": "p of each `<` below .05, of each `<=`, that the first is better, above .05",
    }


def measured(part: Part, seeds: Sequence[int], *, events: int = EVENTS) -> dict[str, NDArray[np.float64]]:
    """By ranker, and of the oracle: `(seeds, 2)` AUC and log loss on the last day; of a constant, `base`, as well."""
    # A process a core: torch learns on one thread each.
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(seeds)), get_context("spawn")) as pool:
        found = list(pool.map(partial(_on_a_world, part, events), seeds))
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def judged(part: Part, found: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Shares of the oracle, and whether the rankers came in their order."""
    shared = {name: shares(found, name) for name in part.rankers}
    return {
        "oracle": dict(zip(("auc", "logloss"), found["oracle"].mean(axis=0).round(4).tolist(), strict=True)),
        "share": {name: _summary(values[:, 0]) for name, values in shared.items()},
        "share_of_entropy": {name: _summary(values[:, 1]) for name, values in shared.items()},
        "seeds": {name: values[:, 0].round(4).tolist() for name, values in shared.items()},
        "p": {pair: _p(pair, found) for pair in part.order},
        "p_better": {pair: _p(pair.replace("<=", "<"), found) for pair in part.order if "<=" in pair},
    }


def shares(found: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    """`(seeds, 2)` what a ranker has of the oracle's AUC above ½, and of what the oracle takes off the log loss."""
    base = found["base"]
    return (found[name] - base) / (found["oracle"] - base)


def _summary(values: NDArray[np.float64]) -> list[float]:
    return [round(float(values.mean()), 3), round(float(values.std(ddof=1)), 3)]


def _p(pair: str, found: Mapping[str, NDArray[np.float64]]) -> float:
    """How likely such AUCs would be were the second no better than the first; for `<=`, were the first no better."""
    first, sign, second = pair.split()
    better, other = (found[second], found[first]) if sign == "<" else (found[first], found[second])
    return round(float(ttest_rel(better[:, 0], other[:, 0], alternative="greater").pvalue), 4)


def _on_a_world(part: Part, events: int, seed: int) -> dict[str, tuple[float, float]]:
    with tempfile.TemporaryDirectory() as folder:
        size = {"users": events // 200, "items": events // 1000, "days": 10}
        simulated = simulate(
            World.of(events, seed=seed, position_bias=0.0, **size, **part.world), Path(folder) / "synth"
        )
        found = _known(simulated.folder)
        for name, ranker in part.rankers.items():
            overrides = (*COMMON, *ranker.overrides(), f"workspace={folder}/workspace")
            config = load_settings(Config, str(simulated.config), overrides=overrides)
            evaluated = run_pipeline(config).artifacts["evaluate"].folder
            metrics = json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))
            found[name] = metrics["ranker/auc"], metrics["ranker/logloss"]
    return found


def _known(folder: Path) -> dict[str, tuple[float, float]]:
    """AUC and log loss of the true probabilities of the last day, and of the click rate of the days before."""
    days = [pq.read_table(path) for path in sorted((folder / "oracle").iterdir()) if path.name.startswith("day-")]
    # Without position bias, what is relevant is clicked.
    clicks = [day["relevant"].to_numpy() for day in days]
    probability = days[-1]["probability"].to_numpy().astype(np.float64)
    rate = np.full(len(probability), np.concatenate(clicks[:-1]).mean())
    return {
        name: (auc(clicks[-1], chance), logloss(clicks[-1], np.log(chance / (1 - chance))))
        for name, chance in (("oracle", probability), ("base", rate))
    }
