"""PNN: a network on vectors and on their products (Qu 2016)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.interaction import above_diagonal, pair_products
from recsys.ranking.base import Ranker, from_zero, network
from recsys.ranking.settings.crossing import PNNConfig

__all__ = ["PNN", "build"]


class PNN(Ranker):
    """logit = bias + deep([z, p]): z the vectors of all inputs, p their products (equations 2 to 4).

    Inner: p_ij = ⟨v_i, v_j⟩ (section 3.2), of i < j, as p is symmetric. Outer: p = v·vᵀ, v the sum of all vectors
    (equation 14), of which the upper triangle is kept for the same reason.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: PNNConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout, number_vectors=True)
        self.inner, self.outer = config.product != "outer", config.product != "inner"
        f, g = self.inputs.field_counts
        request, candidate = f * config.embedding_dim, g * config.embedding_dim
        if self.inner:
            request, candidate = request + f * (f - 1) // 2, candidate + f * g + g * (g - 1) // 2
        if self.outer:
            candidate += config.embedding_dim * (config.embedding_dim + 1) // 2
        self.deep = from_zero(network(config, request, candidate))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.fields(inputs)
        of_request, of_candidate = [request.flatten(1)], [candidate.flatten(2)]
        if self.inner:
            own, mixed = pair_products(request, candidate)
            of_request.append(own.sum(-1))
            of_candidate.append(mixed.sum(-1))
        if self.outer:
            of_candidate.append(_outer(request.sum(1).unsqueeze(1) + candidate.sum(2)))
        deep: Tensor = self.deep(torch.cat(of_request, dim=-1), torch.cat(of_candidate, dim=-1), mask)
        return self.bias + deep


def _outer(vectors: Tensor) -> Tensor:
    """v·vᵀ from the diagonal up: `(…, D)` to `(…, D(D+1)/2)`."""
    rows, columns = above_diagonal(vectors.shape[-1], diagonal=True)
    return vectors[..., rows] * vectors[..., columns]


def build(config: PNNConfig, spec: InputSpec) -> PNN:
    """See `build_ranker`."""
    return PNN(spec, config)
