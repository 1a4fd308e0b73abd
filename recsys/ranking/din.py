"""DIN: the history seen from the candidate (Zhou 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recsys.errors import ConfigError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import InputSpec
from recsys.nn.attention import TargetAttention
from recsys.ranking.base import Ranker, from_zero, network
from recsys.ranking.settings.sequences import DINConfig

__all__ = ["DIN", "build"]


class DIN(Ranker):
    """A deep network over the inputs and over the history, pooled by its relation to the candidate (figure 2).

    Args:
        spec: inputs, as `select_inputs` gives them: each field `history.X` has its `item.X`; at least one does.
        config: sizes.

    Raises:
        ConfigError: there is no such field.
    """

    def __init__(self, spec: InputSpec, config: DINConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        own = self.inputs
        offered = {field.name.partition(".")[2]: field for field in own.candidate}
        if not own.past:
            raise ConfigError(
                "ranking.model: din compares past items with the candidate, but no categorical field is in both "
                "features.history.fields and the model's item inputs; name one, such as item_id or a category"
            )
        self.target = [offered[field.name.partition(".")[2]] for field in own.past]
        width = len(own.past) * own.dim
        self.attention = TargetAttention(width, config.attention_hidden, activation=config.activation)
        request, candidate = own.flat_widths
        self.deep = from_zero(network(config, request, candidate + width))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.flat(inputs)
        embeddings = self.inputs.embeddings
        assert embeddings is not None
        keys = self.inputs.dropout(embeddings(inputs, self.inputs.past)).flatten(2)
        query = self.inputs.dropout(embeddings(inputs, self.target)).flatten(2)
        interest = self.attention(query, keys, inputs[HISTORY_MASK.name] > 0, mask)
        deep: Tensor = self.deep(request, torch.cat([candidate, interest], dim=-1), mask)
        return self.bias + deep


def build(config: DINConfig, spec: InputSpec) -> DIN:
    """See `build_ranker`."""
    return DIN(spec, config)
