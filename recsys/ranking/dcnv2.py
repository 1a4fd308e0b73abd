"""DCNv2: a cross network of matrices, beside a deep network or below it (Wang 2021)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.cross import CrossMatrices
from recsys.ranking.base import Ranker, from_zero, network
from recsys.ranking.settings.crossing import DCNv2Config

__all__ = ["DCNv2", "build"]


class DCNv2(Ranker):
    """logit = bias + w·[x_L, h]: h the deep network's last layer over x₀; stacked, bias + deep(x_L) (section 3.4).

    x₀ is all embeddings and standardised numbers side by side.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: DCNv2Config) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        sides = self.inputs.flat_widths
        self.cross = CrossMatrices(*sides, config.cross_layers, rank=config.rank, experts=config.experts)
        stacked = config.structure == "stacked"
        self.deep = from_zero(network(config, *((0, sum(sides)) if stacked else sides)))
        self.out = None if stacked else nn.Parameter(torch.zeros(sum(sides)))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.flat(inputs)
        crossed = self.cross(request, candidate)
        if self.out is None:
            deep: Tensor = self.deep(request[:, :0], crossed, mask)
            return self.bias + deep
        total: Tensor = self.bias + (crossed @ self.out).unsqueeze(-1) + self.deep(request, candidate, mask)
        return total


def build(config: DCNv2Config, spec: InputSpec) -> DCNv2:
    """See `build_ranker`."""
    return DCNv2(spec, config)
