"""FwFM: a factorisation machine that learns how much each pair of fields matters (Pan 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.interaction import field_weighted
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.linear import FwFMConfig

__all__ = ["FwFM", "build"]


class FwFM(FirstOrderRanker):
    """logit = bias + Σ_i w_i·x_i + Σ_{i<j} r_ij·⟨v_i, v_j⟩·x_i·x_j (equation 4); all r_ij start at 1, as an FM.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: FwFMConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout, number_vectors=True)
        count = sum(self.inputs.field_counts)
        self.pairs = nn.Parameter(torch.ones(count, count))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        pairs = field_weighted(*self.inputs.fields(inputs), self.pairs)
        return (self.linear(inputs) + pairs).unsqueeze(-1)


def build(config: FwFMConfig, spec: InputSpec) -> FwFM:
    """See `build_ranker`."""
    return FwFM(spec, config)
