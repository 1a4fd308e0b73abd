"""LR: logistic regression over categories and numbers."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.linear import LRConfig

__all__ = ["LR", "build"]


class LR(FirstOrderRanker):
    """logit = bias + Σ_i w_i·x_i; it knows no pair of inputs.

    Args:
        spec: inputs; history is not read.
        config: has no sizes.
    """

    def __init__(self, spec: InputSpec, config: LRConfig) -> None:
        super().__init__(spec, 0, 0.0)

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        return self.linear(inputs).unsqueeze(-1)


def build(config: LRConfig, spec: InputSpec) -> LR:
    """See `build_ranker`."""
    return LR(spec, config)
