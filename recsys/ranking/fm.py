"""FM: a factorisation machine (Rendle 2010)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.interaction import second_order
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.linear import FMConfig

__all__ = ["FM", "build"]


class FM(FirstOrderRanker):
    """logit = bias + Σ_i w_i·x_i + Σ_{i<j} ⟨v_i, v_j⟩·x_i·x_j (equation 1).

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: FMConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout, number_vectors=True)

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        pairs = second_order(*self.inputs.fields(inputs))
        return (self.linear(inputs) + pairs).unsqueeze(-1)


def build(config: FMConfig, spec: InputSpec) -> FM:
    """See `build_ranker`."""
    return FM(spec, config)
