"""Rankers of two tasks on Census-Income (KDD): income above 50,000 and never married, as in Ma 2018.

`--data FOLDER` has `census-income.test.gz` (99,762 rows, UCI). Cut 80/10/10 at random; rankers are trained from five
seeds each with the same settings and about as many weights beside their embeddings (93,000 to 115,000). The best epoch
is chosen by the mean AUC on validation, and the AUC of both tasks on the test rows is the mean over seeds.

A number is read twice: its logarithm, and the value itself as a category where training has it often enough. Amounts in
a census are no smooth scale: most gains are 0, and some sums stand for one line of a tax form.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from recsys.features.batch import Field, InputSpec
from recsys.losses.pointwise import bce
from recsys.losses.tasks import TaskLosses
from recsys.metrics.classification import auc
from recsys.ranking.configs import RankerConfig
from recsys.ranking.registry import build_ranker
from recsys.ranking.tasks import MultiTaskRanker
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import predict, seeded, train

NUMBERS = (0, 5, 16, 17, 18, 30, 39)
"""Age, wage an hour, capital gains and losses, dividends, persons of the employer, weeks worked."""
MARITAL, WEIGHT, INCOME = 7, 24, 41
TASKS = ("income", "marital")
OFTEN = 5
"""Rows of training that a value of a number needs to be a category of its own."""
SEEDS = 5
COMMON = {"embedding_dim": 8, "embedding_dropout": 0.0, "dropout": 0.1, "tower_hidden": [64]}
RANKERS: dict[str, dict[str, Any]] = {
    "shared_bottom": {"kind": "shared_bottom", "hidden": [256], **COMMON},
    "mmoe": {"kind": "mmoe", "hidden": [144], "experts": 2, **COMMON},
    "ple": {"kind": "ple", "hidden": [64], "levels": 1, "shared_experts": 2, "task_experts": 1, **COMMON},
}
"""Chosen among some dozen settings of each, by cross-validation over the rows of train and valid."""
TRAINING = TrainingConfig.model_validate(
    {
        "epochs": 8,
        "batch_size": 1024,
        "threads": 1,
        "patience": 2,
        "optimiser": {"learning_rate": 2e-3, "weight_decay": 1e-4},
    }
)


def run(data: Path) -> dict[str, Any]:
    spec, parts = _parts(data / "census-income.test.gz")
    found = {
        name: np.array([_areas(config, spec, parts, seed) for seed in range(SEEDS)]) for name, config in RANKERS.items()
    }
    return {
        "unit": "AUC " + ", ".join(TASKS),
        "ours": {name: areas.mean(axis=0).round(4).tolist() for name, areas in found.items()},
        "deviation": {name: areas.std(axis=0, ddof=1).round(4).tolist() for name, areas in found.items()},
        "target": "mmoe at least shared_bottom on both, and .945, .985",
    }


def _parts(path: Path) -> tuple[InputSpec, dict[str, Samples]]:
    """The inputs, and the rows of train, valid and test; nothing is taken from the latter two."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        table = pd.read_csv(file, header=None, skipinitialspace=True, dtype=str, keep_default_na=False)
    labels = np.stack([table[INCOME] == "50000+.", table[MARITAL] == "Never married"], axis=-1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(table))
    cuts = np.split(order, [int(0.8 * len(table)), int(0.9 * len(table))])
    inputs, fields = {}, []
    for column in (c for c in table.columns if c not in (MARITAL, WEIGHT, INCOME)):
        name, number = f"item.c{column}", f"item.n{column}"
        if column in NUMBERS:
            inputs[number] = np.log1p(table[column].astype(np.float32).to_numpy())
            fields.append(Field(number, 0, 1, ""))
        counts = table[column].iloc[cuts[0]].value_counts()
        known = pd.Index(sorted(counts.index[counts >= (OFTEN if column in NUMBERS else 1)]))
        inputs[name] = known.get_indexer(table[column]).astype(np.int64) + 2
        fields.append(Field(name, len(known) + 2, 1, name))
    return InputSpec(tuple(fields), 1), {
        part: _samples(inputs, labels, rows) for part, rows in zip(("train", "valid", "test"), cuts, strict=True)
    }


def _samples(inputs: dict[str, NDArray[Any]], labels: NDArray[np.float32], rows: NDArray[np.int64]) -> Samples:
    own = {name: values[rows, None] for name, values in inputs.items()}
    return Samples(own, labels[rows, None], np.ones((len(rows), 1), dtype=bool), TRAINING.batch_size)


def _areas(config: dict[str, Any], spec: InputSpec, parts: dict[str, Samples], seed: int) -> list[float]:
    """AUC of each task on the test rows."""
    with seeded(seed):
        model = build_ranker(TypeAdapter(RankerConfig).validate_python(config), spec, len(TASKS))
    model.fit_inputs(parts["train"])
    assert isinstance(model, MultiTaskRanker)
    loss = TaskLosses([bce, bce], [1.0, 1.0], shared=model.shared_weights)

    def judge(found: Any) -> dict[str, float]:  # noqa: ANN401
        return {"auc": float(np.mean(_by_task(found, parts["valid"])))}

    train(model, loss, parts["train"], TRAINING, seed=seed, log=lambda *_: None, validate=judge)
    return _by_task(model, parts["test"])


def _by_task(model: Any, samples: Samples) -> list[float]:  # noqa: ANN401
    scores = predict(model, samples)
    return [auc(samples.labels[:, 0, task], scores[:, 0, task]) for task in range(len(TASKS))]
