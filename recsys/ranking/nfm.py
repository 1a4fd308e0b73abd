"""NFM: a network on the sum of all pairs' products (He and Chua 2017)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.dropout import Dropout
from recsys.nn.interaction import bi_interaction
from recsys.nn.norm import NORMS
from recsys.ranking.base import from_zero, network
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.crossing import NFMConfig

__all__ = ["NFM", "build"]


class NFM(FirstOrderRanker):
    """logit = bias + Σ_i w_i·x_i + deep(Σ_{i<j} x_i·v_i ∘ x_j·v_j) (equations 2 to 6).

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: NFMConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout, number_vectors=True)
        self.norm = NORMS[config.norm](config.embedding_dim)
        self.dropout = Dropout(config.dropout)
        self.deep = from_zero(network(config, 0, config.embedding_dim))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.fields(inputs)
        pooled = self.dropout(self.norm(bi_interaction(request, candidate), mask))
        deep: Tensor = self.deep(request[:, :0].flatten(1), pooled, mask)
        return self.linear(inputs).unsqueeze(-1) + deep


def build(config: NFMConfig, spec: InputSpec) -> NFM:
    """See `build_ranker`."""
    return NFM(spec, config)
