"""A factorisation machine whose user and item sides serve as vectors (Rendle 2010)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.two_tower import FMConfig
from recsys.recall.two_tower.route import fit_towers
from recsys.recall.two_tower.towers import TwoTower
from recsys.retrieval.base import Retriever

__all__ = ["FMTowers", "fit"]


def fit(config: FMConfig, data: TrainingData, context: FitContext) -> Retriever:
    """See `recsys.recall.two_tower.route.fit`.

    Of Σ_i w_i x_i + Σ_{i<j} v_i·v_j x_i x_j over the fields of user, history and item, whatever has no part of the item
    is the same for all items and left out; the rest is (Σ user v + mean history v)·(Σ item v) + (what the item says
    alone), a product of two vectors.
    """
    return fit_towers(FMTowers, config, data, context)


class FMTowers(TwoTower):
    """Towers whose item bias holds the products of the item's own fields, too."""

    def biases(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`(…, 1)` Σ w + Σ_{i<j} v_i·v_j over the fields of the item (Rendle 2010, equation 5)."""
        linear = super().biases(inputs)
        vectors = self.embeddings(inputs, self.item.index)
        total = vectors.sum(-2)
        pairs = 0.5 * (total * total - (vectors * vectors).sum(-2)).sum(-1, keepdim=True)
        alone: Tensor = linear + pairs
        return alone
