"""DCN: a cross network of vectors beside a deep network (Wang 2017)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.cross import CrossVectors
from recsys.ranking.base import Ranker, from_zero, network
from recsys.ranking.settings.crossing import DCNConfig

__all__ = ["DCN", "build"]


class DCN(Ranker):
    """logit = bias + w·[x_L, h], x_L of the cross network and h of the deep one over the same x₀ (equations 3 to 5).

    x₀ is all embeddings and standardised numbers side by side.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: DCNConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        self.cross = CrossVectors(*self.inputs.flat_widths, config.cross_layers)
        self.deep = from_zero(network(config, *self.inputs.flat_widths))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.flat(inputs)
        total: Tensor = self.bias + self.cross(request, candidate) + self.deep(request, candidate, mask)
        return total


def build(config: DCNConfig, spec: InputSpec) -> DCN:
    """See `build_ranker`."""
    return DCN(spec, config)
