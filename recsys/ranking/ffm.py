"""FFM: a field-aware factorisation machine (Juan 2016)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.interaction import field_aware
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.linear import FFMConfig

__all__ = ["FFM", "build"]


class FFM(FirstOrderRanker):
    """logit = bias + Σ_i w_i·x_i + Σ_{i<j} ⟨v_i,f_j , v_j,f_i⟩·x_i·x_j (equation 4).

    A row of the embedding table holds the N vectors of a category, one for each field; that for its own field is never
    read. N times the memory of an FM, so the vectors are short.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: FFMConfig) -> None:
        count = len(spec.side("user", "context", "item", "route"))
        super().__init__(spec, count * config.embedding_dim, config.embedding_dropout, number_vectors=True)
        self.met = count, config.embedding_dim

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = (side.reshape(*side.shape[:-1], *self.met) for side in self.inputs.fields(inputs))
        return (self.linear(inputs) + field_aware(request, candidate)).unsqueeze(-1)


def build(config: FFMConfig, spec: InputSpec) -> FFM:
    """See `build_ranker`."""
    return FFM(spec, config)
