"""AFM: a factorisation machine that attends to some pairs more than to others (Xiao 2017)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.dropout import Dropout
from recsys.nn.interaction import pair_products
from recsys.nn.linear import Linear
from recsys.ranking.first_order import FirstOrderRanker
from recsys.ranking.settings.crossing import AFMConfig

__all__ = ["AFM", "build"]


class AFM(FirstOrderRanker):
    """logit = bias + Σ_i w_i·x_i + p·Σ_{i<j} a_ij·(x_i·v_i ∘ x_j·v_j) (equation 6).

    a = softmax over all pairs of h·ReLU(W(v_i ∘ v_j) + b) (equation 5). Products and their h·ReLU(…) of two request
    fields are worked out once a request. p starts at ones: the mean of all pairs.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: AFMConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout, number_vectors=True)
        self.attend = nn.Sequential(
            Linear(config.embedding_dim, config.attention_dim),
            nn.ReLU(),
            Linear(config.attention_dim, 1, bias=False),
        )
        self.dropout = Dropout(config.dropout)
        self.project = nn.Parameter(torch.ones(config.embedding_dim))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        own, mixed = pair_products(*self.inputs.fields(inputs))
        weights = self._weights(own, mixed)
        count = own.shape[1]
        pooled = weights[:, :, :count] @ own + (weights[:, :, count:].unsqueeze(2) @ mixed).squeeze(2)
        pairs: Tensor = (self.dropout(pooled) * self.project).sum(-1)
        return (self.linear(inputs) + pairs).unsqueeze(-1)

    def _weights(self, own: Tensor, mixed: Tensor) -> Tensor:
        """A of all pairs, those of two request fields first: `(B, C, P + Q)`."""
        known = self.attend(own).squeeze(-1).unsqueeze(1).expand(-1, mixed.shape[1], -1)
        every: Tensor = torch.cat([known, self.attend(mixed).squeeze(-1)], dim=-1).softmax(-1)
        return every


def build(config: AFMConfig, spec: InputSpec) -> AFM:
    """See `build_ranker`."""
    return AFM(spec, config)
