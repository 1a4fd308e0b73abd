"""xDeepFM: explicit products of many fields beside a deep network (Lian 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.compressed import CompressedInteraction
from recsys.ranking.base import from_zero, network
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.crossing import XDeepFMConfig

__all__ = ["XDeepFM", "build"]


class XDeepFM(FirstOrderRanker):
    """logit = bias + Σ_i w_i·x_i + w·p + deep(v), p of the compressed interaction network over v (equation 9).

    v is the vectors of all inputs, a number's being the number times its own.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: XDeepFMConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout, number_vectors=True)
        counts = self.inputs.field_counts
        self.interaction = CompressedInteraction(*counts, config.maps)
        self.out = nn.Parameter(torch.zeros(sum(config.maps)))
        self.deep = from_zero(network(config, *(count * config.embedding_dim for count in counts)))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.fields(inputs)
        explicit = self.linear(inputs) + self.interaction(request, candidate) @ self.out
        total: Tensor = explicit.unsqueeze(-1) + self.deep(request.flatten(1), candidate.flatten(2), mask)
        return total


def build(config: XDeepFMConfig, spec: InputSpec) -> XDeepFM:
    """See `build_ranker`."""
    return XDeepFM(spec, config)
