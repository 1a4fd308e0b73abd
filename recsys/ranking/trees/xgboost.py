"""Trees grown by XGBoost (Chen 2016)."""

import json
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from recsys.ranking.settings.trees import LambdaMARTConfig, TreeSettings
from recsys.ranking.trees.boosting import Rows, Table
from recsys.ranking.trees.forest import Branch, Forest
from recsys.ranking.trees.table import TableLayout

__all__ = ["XGBoost"]


class XGBoost:
    """See `Boosting`.

    Args:
        config: of the ranker.
        rows: what it learns from.
        seed: of what is drawn.
        threads: `None`: one a core.
    """

    def __init__(self, config: TreeSettings, rows: Rows, *, seed: int, threads: int | None) -> None:
        ranking = isinstance(config, LambdaMARTConfig)
        self._layout = rows.layout
        self._data = _matrix(rows.layout, rows.table)
        self._data.set_info(label=rows.labels)
        if ranking:
            self._data.set_info(group=rows.groups)
        if rows.weight is not None:
            self._data.set_info(weight=_request_weights(rows) if ranking else rows.weight)
        self._bias = 0.0 if ranking else rows.base
        if rows.offset is not None and not ranking:
            self._data.set_info(base_margin=rows.offset + self._bias)
        rate = float(1 / (1 + np.exp(-self._bias)))
        self._booster = xgboost.Booster(_parameters(config, rate, seed, threads), [self._data])

    def grow(self) -> bool:
        """See `Boosting`."""
        self._booster.update(self._data, self._booster.num_boosted_rounds())
        return True

    def newest(self, table: Table) -> NDArray[np.float64]:
        """See `Boosting`."""
        rounds = self._booster.num_boosted_rounds()
        scores = self._booster.predict(
            _matrix(self._layout, table), output_margin=True, iteration_range=(rounds - 1, rounds)
        )
        return np.asarray(scores, dtype=np.float64) - self._bias

    def numbers(self, table: Table, trees: int) -> NDArray[np.integer[Any]]:
        """See `Boosting`."""
        found = self._booster.predict(_matrix(self._layout, table), pred_leaf=True, iteration_range=(0, trees))
        return np.asarray(found).reshape(len(table), -1).astype(np.int64)

    def forest(self, trees: int) -> Forest:
        """See `Boosting`."""
        forest = Forest(bias=self._bias)
        for tree in self._booster.get_dump(dump_format="json")[:trees]:
            forest.numbers.append({})
            forest.roots.append(_added(forest, json.loads(tree)))
        return forest


def _matrix(layout: TableLayout, table: Table) -> xgboost.DMatrix:
    kinds = ["q"] * len(layout.names)
    for column in layout.categorical:
        kinds[column] = "c"
    return xgboost.DMatrix(table, feature_types=kinds, enable_categorical=True)


def _request_weights(rows: Rows) -> NDArray[np.float32]:
    """The mean weight of each request's candidates: XGBoost weighs whole requests."""
    assert rows.weight is not None
    starts = np.concatenate([[0], np.cumsum(rows.groups)[:-1]])
    return np.asarray(np.add.reduceat(rows.weight, starts) / rows.groups, dtype=np.float32)


def _parameters(config: TreeSettings, rate: float, seed: int, threads: int | None) -> dict[str, Any]:
    objective: dict[str, Any] = {"objective": "binary:logistic"}
    if isinstance(config, LambdaMARTConfig):
        objective = {
            "objective": "rank:ndcg",
            "lambdarank_pair_method": "topk",
            "lambdarank_num_pair_per_sample": config.top,
        }
    return {
        **objective,
        "base_score": rate,
        "grow_policy": "lossguide",
        "max_depth": 0,
        "max_leaves": config.leaves,
        "min_child_weight": config.min_leaf,
        "eta": config.learning_rate,
        "lambda": config.l2,
        "subsample": config.row_share,
        "colsample_bytree": config.input_share,
        "tree_method": "hist",
        "seed": seed,
        "nthread": threads or 0,
        "verbosity": 0,
    }


def _added(forest: Forest, node: dict[str, Any]) -> int:
    """Adds a node and all below it; gives it as a child."""
    if "leaf" in node:
        return forest.leaf(node["nodeid"], node["leaf"])
    column, condition = int(node["split"].removeprefix("f")), node["split_condition"]
    if isinstance(condition, list):
        branch = Branch(column, categories=tuple(condition))
    else:
        branch = Branch(column, condition, below=True)
    place = forest.branch(branch)
    below = {child["nodeid"]: child for child in node["children"]}
    forest.children[place] = _added(forest, below[node["yes"]]), _added(forest, below[node["no"]])
    return place
