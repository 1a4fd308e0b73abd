"""FinalMLP: two networks that each see the inputs through a gate of their own (Mao 2023)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.bilinear import BilinearFusion
from recsys.nn.linear import Linear
from recsys.ranking.base import Ranker, network
from recsys.ranking.settings.crossing import FinalMLPConfig

__all__ = ["FinalMLP", "build"]


class FinalMLP(Ranker):
    """logit = bias + fusion(MLP_1(g_1 ∘ z), MLP_2(g_2 ∘ z)), z all embeddings and numbers (equations 4 to 10).

    g_1 = 2σ(gate_1(request)) and g_2 = 2σ(gate_2(candidate)), each as wide as z (section 3.2); without any request
    input g_1 is one learned vector. Gate 1 and the request's share of network 1 are worked out once a request; gate 2
    makes the request's inputs another for each candidate.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: FinalMLPConfig) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        self.sides = request, candidate = self.inputs.flat_widths
        self.gates = nn.ModuleList()
        if config.gate_hidden:
            self.gates.extend(_Gate(side, config.gate_hidden, request + candidate) for side in (request, candidate))
        sides = (0, request + candidate) if config.gate_hidden else (request, candidate)
        self.streams = nn.ModuleList((network(config, request, candidate, out=None), network(config, *sides, out=None)))
        self.fusion = BilinearFusion(config.hidden[-1], config.hidden[-1], config.heads)

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.flat(inputs)
        first, second = (request, candidate), (request, candidate)
        if len(self.gates):
            of_request, of_candidate = self.gates[0](request).split(self.sides, dim=-1)
            first = request * of_request, candidate * of_candidate.unsqueeze(1)
            of_request, of_candidate = self.gates[1](candidate).split(self.sides, dim=-1)
            gated = torch.cat([request.unsqueeze(1) * of_request, candidate * of_candidate], dim=-1)
            second = request[:, :0], gated
        total: Tensor = self.bias + self.fusion(self.streams[0](*first, mask), self.streams[1](*second, mask))
        return total


class _Gate(nn.Module):
    """2σ(MLP(x)): `(…, K)` to `(…, N)`, about one at first; of nothing, one learned vector."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Linear(width, hidden), nn.ReLU(), Linear(hidden, out)) if width else None
        self.learned = None if width else nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        if self.layers is not None:
            return 2 * torch.sigmoid(self.layers(x))
        assert self.learned is not None
        return 2 * torch.sigmoid(self.learned).expand(x.shape[0], -1)


def build(config: FinalMLPConfig, spec: InputSpec) -> FinalMLP:
    """See `build_ranker`."""
    return FinalMLP(spec, config)
