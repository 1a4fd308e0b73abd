"""Rankers made of trees, from samples to a served graph."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.errors import ConfigError, ParityError
from recsys.features.batch import InputSpec
from recsys.ranking.settings.trees import GBDTLRConfig, TreeSettings
from recsys.ranking.trees.boosting import Boosting, Rows, boosted, rows_of, run_graph
from recsys.ranking.trees.forest import Forest, forest_graph
from recsys.ranking.trees.regression import leaf_weights
from recsys.training.batches import Samples

__all__ = ["Grown", "fit_trees"]

Scores = NDArray[np.float32]
TOLERANCE = 2e-5
"""Largest |Δ| ≤ TOLERANCE · (1 + max |score|): the graph adds leaves up in single precision."""

_BACKENDS = {"lightgbm": ("LightGBM", "train"), "xgboost": ("XGBoost", "xgboost")}
"""Name of the class in the module of the same name, and the extra that installs the library."""


@dataclass(frozen=True, slots=True)
class Grown:
    """A ranker made of trees.

    Attributes:
        graph: from model inputs to logits `(B, C, 1)`.
        trees: how many there are.
    """

    graph: bytes
    trees: int

    def scores(self, samples: Samples) -> Scores:
        """`(Q, C)` of every group."""
        return run_graph(self.graph, samples)[..., 0]


def fit_trees(
    config: TreeSettings,
    spec: InputSpec,
    samples: Samples,
    *,
    seed: int,
    threads: int | None = None,
    validation: Samples | None = None,
    judge: Callable[[Scores, int], float] | None = None,
) -> Grown:
    """Grows the trees of a ranker.

    Args:
        config: of the ranker.
        spec: its inputs.
        samples: what it learns from.
        seed: of what is drawn.
        threads: `None`: one a core.
        validation: what decides how many trees are kept; without it all are grown and kept.
        judge: takes scores `(Q, C)` of `validation`, and the number of trees; gives the figure, larger being better.

    Raises:
        ConfigError: the library that grows them is not installed.
        ParityError: the graph and that library disagree.
    """
    rows = rows_of(samples, spec)
    boosting = _boosting(config, rows, seed, threads)

    def judged(scores: NDArray[np.float64], trees: int) -> float:
        assert validation is not None
        assert judge is not None
        by_request = np.zeros(validation.mask.shape, dtype=np.float32)
        by_request[validation.mask] = scores
        return judge(by_request, trees)

    table = rows.table[:0] if validation is None else rows_of(validation, spec).table
    trees = boosted(boosting, config.trees, config.patience, judged=judged if judge else None, table=table)
    forest = boosting.forest(trees)
    if isinstance(config, GBDTLRConfig):
        places = forest.places(boosting.numbers(rows.table, trees))
        count = len(forest.leaves)
        weights, bias = leaf_weights(places, count, rows.labels, rows.weight, config.leaf_l2, rows.offset)
        forest = forest.saying(weights.tolist(), bias)
    graph = forest_graph(forest, spec)
    _check(graph, forest, boosting, trees, samples, rows)
    return Grown(graph, trees)


def _check(graph: bytes, forest: Forest, boosting: Boosting, trees: int, samples: Samples, rows: Rows) -> None:
    """Raises `ParityError` when the graph sends a row elsewhere than the library that grew the trees."""
    places = forest.places(boosting.numbers(rows.table, trees))
    expected = np.array(forest.leaves)[places].sum(axis=1) + forest.bias
    found = run_graph(graph, samples)[..., 0][samples.mask]
    difference = float(np.abs(found - expected).max())
    allowed = TOLERANCE * (1 + float(np.abs(expected).max()))
    if not difference <= allowed:
        raise ParityError(
            f"the graph of {trees} trees differs by {difference:.3g} from the library that grew them, expected at most "
            f"{allowed:.3g}; please report it with the versions of onnxruntime and of that library"
        )


def _boosting(config: TreeSettings, rows: Rows, seed: int, threads: int | None) -> Boosting:
    name, extra = _BACKENDS[config.backend]
    # LightGBM needs an OpenMP library, which slim systems lack: torch, imported long before, has brought its own.
    try:
        module = importlib.import_module(f"recsys.ranking.trees.{config.backend}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"ranking.model.backend: {config.backend} is not installed; run pip install 'recsys[{extra}]'"
        ) from error
    made: Boosting = getattr(module, name)(config, rows, seed=seed, threads=threads)
    return made
