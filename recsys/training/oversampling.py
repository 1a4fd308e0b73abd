"""Positives made up between others, by imbalanced-learn, for inputs that are all numbers."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsys.data.imbalance import gained_log_odds
from recsys.errors import ConfigError, DataError
from recsys.training.batches import Samples

__all__ = ["synthetic_positives"]

_NEIGHBOURS = 5
"""A new positive lies between a positive and one of so many that are nearest to it."""


def synthetic_positives(
    samples: Samples, kind: Literal["smote", "adasyn"], negatives_per_positive: float, *, seed: int
) -> Samples:
    """The samples, and positives on lines between two of them until the ratio is reached; log-odds corrected for it.

    `smote` draws evenly among positives (Chawla 2002); `adasyn` more near those among many negatives (He 2008), and
    comes only near the ratio.

    Args:
        samples: one candidate each, without weights; unchanged where the ratio is reached already.
        kind: of the new ones.
        negatives_per_positive: the ratio.
        seed: of what is drawn.

    Raises:
        ConfigError: imbalanced-learn is not installed.
        DataError: an input is no number, or there are too few positives.
    """
    _check_numbers(samples, kind)
    positive = samples.labels[:, 0] > 0
    own = int(positive.sum())
    wanted = round((len(positive) - own) / negatives_per_positive)
    if wanted <= own:
        return samples
    if own <= _NEIGHBOURS:
        raise DataError(
            f"ranking.samples.imbalance: {kind} found {own} positives, expected more than {_NEIGHBOURS}: new ones lie "
            "between a positive and its nearest; use class_weight"
        )
    table = np.stack([values.reshape(len(positive)) for values in samples.inputs.values()], axis=1)
    made = _made(kind, table.astype(np.float64), positive, wanted, seed).astype(np.float32)
    inputs = {
        name: np.concatenate([values, made[:, column].reshape(-1, *values.shape[1:])])
        for column, (name, values) in enumerate(samples.inputs.items())
    }
    labels = np.concatenate([samples.labels, np.ones((len(made), 1), dtype=np.float32)])
    gained = gained_log_odds(positive, labels[:, 0] > 0)
    offset = np.full(labels.shape, gained, dtype=np.float32)
    return replace(samples, inputs=inputs, labels=labels, mask=np.ones(labels.shape, dtype=bool), offset=offset)


def _check_numbers(samples: Samples, kind: str) -> None:
    for name, values in samples.inputs.items():
        if not np.issubdtype(values.dtype, np.floating) or values.size != len(samples.labels):
            raise DataError(
                f"ranking.samples.imbalance: {kind} found the input {name}, which is not one number a row, expected "
                "numbers alone: half way between two categories is nothing; name it in ranking.model.exclude, or use "
                "class_weight"
            )


def _made(kind: str, table: NDArray[np.float64], positive: NDArray[np.bool_], wanted: int, seed: int) -> NDArray[Any]:
    """`(m, F)` new positives."""
    try:
        from imblearn.over_sampling import ADASYN, SMOTE
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"ranking.samples.imbalance: {kind} needs imbalanced-learn; run pip install 'recsys[imbalance]'"
        ) from error
    counts, rng = {1: wanted}, np.random.RandomState(seed)
    if kind == "smote":
        sampler = SMOTE(sampling_strategy=counts, k_neighbors=_NEIGHBOURS, random_state=rng)
    else:
        sampler = ADASYN(sampling_strategy=counts, n_neighbors=_NEIGHBOURS, random_state=rng)
    try:
        every, _ = sampler.fit_resample(table, positive.astype(np.int64))
    except (ValueError, RuntimeError) as error:
        raise DataError(f"ranking.samples.imbalance: {kind} could make no positives: {error}; use smote") from error
    return np.asarray(every[len(table) :])
