"""Trees grown by LightGBM (Ke 2017)."""

from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from recsys.ranking.settings.trees import LambdaMARTConfig, TreeSettings
from recsys.ranking.trees.boosting import Rows, Table
from recsys.ranking.trees.forest import Branch, Forest

__all__ = ["LightGBM"]


class LightGBM:
    """See `Boosting`.

    Args:
        config: of the ranker.
        rows: what it learns from.
        seed: of what is drawn.
        threads: `None`: one a core.
    """

    def __init__(self, config: TreeSettings, rows: Rows, *, seed: int, threads: int | None) -> None:
        ranking = isinstance(config, LambdaMARTConfig)
        # With a start of their own, trees do not begin at the log-odds of the labels any more.
        self._bias = 0.0 if ranking or rows.offset is None else rows.base
        data = lightgbm.Dataset(
            rows.table,
            rows.labels,
            weight=rows.weight,
            init_score=None if ranking or rows.offset is None else rows.offset + self._bias,
            group=rows.groups if ranking else None,
            categorical_feature=list(rows.layout.categorical),
            params={"max_bin": 255, "feature_pre_filter": False, "use_missing": False, "verbose": -1},
        )
        self._booster = lightgbm.Booster(_parameters(config, seed, threads), data)

    def grow(self) -> bool:
        """See `Boosting`."""
        return not self._booster.update()

    def newest(self, table: Table) -> NDArray[np.float64]:
        """See `Boosting`."""
        last = self._booster.current_iteration() - 1
        return np.asarray(self._booster.predict(table, start_iteration=last, num_iteration=1, raw_score=True))

    def numbers(self, table: Table, trees: int) -> NDArray[np.integer[Any]]:
        """See `Boosting`."""
        return np.asarray(self._booster.predict(table, num_iteration=trees, pred_leaf=True)).reshape(len(table), -1)

    def forest(self, trees: int) -> Forest:
        """See `Boosting`."""
        forest = Forest(bias=self._bias)
        for tree in self._booster.dump_model(num_iteration=trees)["tree_info"]:
            forest.numbers.append({})
            forest.roots.append(_added(forest, tree["tree_structure"]))
        return forest


def _parameters(config: TreeSettings, seed: int, threads: int | None) -> dict[str, Any]:
    objective: dict[str, Any] = {"objective": "binary"}
    if isinstance(config, LambdaMARTConfig):
        objective = {"objective": "lambdarank", "lambdarank_truncation_level": config.top}
    return {
        **objective,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_leaf,
        "learning_rate": config.learning_rate,
        "lambda_l2": config.l2,
        "bagging_fraction": config.row_share,
        "bagging_freq": int(config.row_share < 1),
        "feature_fraction": config.input_share,
        "seed": seed,
        "num_threads": threads or 0,
        "deterministic": True,
        "force_row_wise": True,
        "use_missing": False,
        "verbose": -1,
    }


def _added(forest: Forest, node: dict[str, Any]) -> int:
    """Adds a node and all below it; gives it as a child."""
    if "split_feature" not in node:
        return forest.leaf(node.get("leaf_index", 0), node["leaf_value"])
    if node["decision_type"] == "==":
        categories = tuple(int(category) for category in node["threshold"].split("||"))
        branch = Branch(node["split_feature"], categories=categories)
    else:
        branch = Branch(node["split_feature"], node["threshold"])
    place = forest.branch(branch)
    forest.children[place] = _added(forest, node["left_child"]), _added(forest, node["right_child"])
    return place
