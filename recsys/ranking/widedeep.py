"""Wide & Deep: crosses that remember beside a network that generalises (Cheng 2016)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.embedding import EmbeddingCollection
from recsys.ranking.base import from_zero, network
from recsys.ranking.crosses import Cross, crosses_of
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.crossing import WideDeepConfig

__all__ = ["WideDeep", "build"]


class WideDeep(FirstOrderRanker):
    """logit = bias + w·[x, φ(x)] + deep([v, numbers]), φ the crosses named in the settings (equation 3).

    Wide and deep part are trained together, by one optimiser. Weights of crosses start at zero; a cross of multi-valued
    inputs counts as the mean over its combinations. A cross of two request inputs is looked up once a request.

    Args:
        spec: inputs; history is not read.
        config: sizes.

    Raises:
        ConfigError: a cross names what is no categorical input.
    """

    def __init__(self, spec: InputSpec, config: WideDeepConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        crosses = crosses_of(spec.fields, config.crosses, config.cross_buckets)
        self.crosses = [[cross for cross in crosses if cross.field.side == side] for side in ("user", "item")]
        fields = [cross.field for cross in crosses]
        self.cross_weights = EmbeddingCollection(fields, 1, std=0.0) if fields else None
        self.deep = from_zero(network(config, *self.inputs.flat_widths))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        wide = self.linear(inputs)
        for crosses in self.crosses:
            wide = wide + self._crossed(inputs, crosses)
        total: Tensor = wide.unsqueeze(-1) + self.deep(*self.inputs.flat(inputs), mask)
        return total

    def _crossed(self, inputs: Mapping[str, Tensor], crosses: list[Cross]) -> Tensor | float:
        """Sum of the weights of one side's crosses: `(B, 1)` or `(B, C)`."""
        if self.cross_weights is None or not crosses:
            return 0.0
        values = {cross.field.name: cross.values(inputs) for cross in crosses}
        weights: Tensor = self.cross_weights(values, [cross.field for cross in crosses]).sum((-1, -2))
        return weights if weights.ndim == 2 else weights.unsqueeze(1)


def build(config: WideDeepConfig, spec: InputSpec) -> WideDeep:
    """See `build_ranker`."""
    return WideDeep(spec, config)
