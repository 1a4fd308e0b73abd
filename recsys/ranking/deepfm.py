"""DeepFM: a factorisation machine and a deep network on shared embeddings (Guo 2017)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.interaction import second_order
from recsys.ranking.base import from_zero, network, side_by_side
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.crossing import DeepFMConfig

__all__ = ["DeepFM", "build"]


class DeepFM(FirstOrderRanker):
    """logit = bias + first order + Σ_{i<j} ⟨v_i, v_j⟩ + deep([v, numbers]) (equations 1 to 4).

    Numbers have no embedding: they enter the first-order part and the deep network, standardised.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: DeepFMConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        self.deep = from_zero(network(config, *self.inputs.flat_widths))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        vectors, numbers = self.inputs.vectors(inputs), self.inputs.numbers(inputs)
        logits = self.linear(inputs) + second_order(*vectors)
        total: Tensor = logits.unsqueeze(-1) + self.deep(*side_by_side(vectors, numbers), mask)
        return total


def build(config: DeepFMConfig, spec: InputSpec) -> DeepFM:
    """See `build_ranker`."""
    return DeepFM(spec, config)
