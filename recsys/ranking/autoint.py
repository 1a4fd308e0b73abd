"""AutoInt: self-attention between inputs (Song 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.field_attention import FieldAttention
from recsys.ranking.base import Ranker, from_zero, network
from recsys.ranking.settings.crossing import AutoIntConfig

__all__ = ["AutoInt", "build"]


class AutoInt(Ranker):
    """logit = bias + w·[e_1, …, e_N] (equation 10), e the inputs' vectors after layers of attention to one another.

    With hidden layers a deep network over the vectors is added: AutoInt+ (section 5.5).

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: AutoIntConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout, number_vectors=True)
        counts, width = self.inputs.field_counts, config.heads * config.head_dim
        dims = (config.embedding_dim, *(width for _ in range(config.attention_layers - 1)))
        self.layers = nn.ModuleList(FieldAttention(dim, config.heads, config.head_dim) for dim in dims)
        self.out = nn.Parameter(torch.zeros(sum(counts) * width))
        sides = (count * config.embedding_dim for count in counts)
        self.deep = from_zero(network(config, *sides)) if config.hidden else None

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.fields(inputs)
        x = self.layers[0](candidate, request)
        for layer in self.layers[1:]:
            x = layer(x)
        logits: Tensor = self.bias + (x.flatten(2) @ self.out).unsqueeze(-1)
        return logits if self.deep is None else logits + self.deep(request.flatten(1), candidate.flatten(2), mask)


def build(config: AutoIntConfig, spec: InputSpec) -> AutoInt:
    """See `build_ranker`."""
    return AutoInt(spec, config)
