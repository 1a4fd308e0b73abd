"""Settings of rankers made of decision trees."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from recsys.ranking.settings.base import RankerSettings

__all__ = ["GBDTConfig", "GBDTLRConfig", "LambdaMARTConfig", "TreeSettings"]

Share = Annotated[float, Field(gt=0, le=1)]


class TreeSettings(RankerSettings):
    """Settings of every ranker made of trees. `ranking.training` is of networks; of it, they take `threads` alone."""

    backend: Literal["lightgbm", "xgboost"] = "lightgbm"
    """What grows the trees; either is served by the same graph, and neither is needed to serve it."""
    trees: PositiveInt = 500
    """At most; the number with the best validation figure is kept."""
    patience: PositiveInt = 50
    """Trees without a better validation figure before no more are grown."""
    leaves: Annotated[int, Field(ge=2, le=4096)] = 31
    """Of a tree, at most."""
    min_leaf: PositiveInt = 20
    """Samples of a leaf, at least; of `xgboost`, the sum of their second derivatives."""
    learning_rate: PositiveFloat = 0.05
    """What a tree adds is scaled by this."""
    l2: NonNegativeFloat = 1.0
    """On what leaves say."""
    row_share: Share = 1.0
    """Samples that each tree is grown on."""
    input_share: Share = 1.0
    """Columns that each tree is grown on."""


class GBDTConfig(TreeSettings):
    """Gradient boosted trees on the log loss (Friedman 2001)."""

    kind: Literal["gbdt"]


class LambdaMARTConfig(TreeSettings):
    """Gradient boosted trees on LambdaRank's gradients (Burges 2010)."""

    kind: Literal["lambdamart"]
    top: PositiveInt = 10
    """Pairs count by how much NDCG changes, if one of them is among this many."""


class GBDTLRConfig(TreeSettings):
    """A logistic regression on the leaves of gradient boosted trees (He 2014)."""

    kind: Literal["gbdt_lr"]
    leaf_l2: PositiveFloat = 100.0
    """L2 on the weights of leaves: the regression sees the samples that the trees were grown on."""
