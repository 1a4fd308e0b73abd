"""FNN: a network on the vectors of a factorisation machine that is trained first (Zhang 2016)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.losses.pointwise import bce
from recsys.nn.interaction import second_order
from recsys.ranking.base import Ranker, from_zero, network
from recsys.ranking.settings.crossing import FNNConfig
from recsys.training.batches import SampleSource
from recsys.training.config import OptimiserConfig, TrainingConfig
from recsys.training.trainer import train

__all__ = ["FNN", "build"]


class _AsFM(nn.Module):
    """The factorisation machine inside an `FNN`: first weight, then vector of every input; it shares its tables."""

    def __init__(self, ranker: "FNN") -> None:
        super().__init__()
        self.inputs, self.bias = ranker.inputs, ranker.bias

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.fields(inputs)
        first = request[..., 0].sum(-1, keepdim=True) + candidate[..., 0].sum(-1)
        return (self.bias + first + second_order(request[..., 1:], candidate[..., 1:])).unsqueeze(-1)


class FNN(Ranker):
    """logit = bias + deep(z), z = x_i·[w_i, v_i] of every input (equations 2 to 5).

    w_i and v_i are weight and vector of a factorisation machine, trained on the same samples before the first step.

    Args:
        spec: inputs; history is not read.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: FNNConfig) -> None:
        width = 1 + config.embedding_dim
        super().__init__(spec, width, config.embedding_dropout, number_vectors=True)
        self.pretrain_epochs = config.pretrain_epochs
        self.deep = from_zero(network(config, *(count * width for count in self.inputs.field_counts)))

    def fit_inputs(self, samples: SampleSource) -> None:
        """Statistics of the samples, and the factorisation machine."""
        super().fit_inputs(samples)
        if self.pretrain_epochs == 0:
            return
        start = self.bias.detach().clone()
        config = TrainingConfig(epochs=self.pretrain_epochs, optimiser=OptimiserConfig(learning_rate=0.01))
        train(_AsFM(self), bce, samples, config, seed=0, log=lambda *_: None)
        with torch.no_grad():
            self.bias.copy_(start)  # the network starts as a correction of nothing, not of the machine's bias

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        request, candidate = self.inputs.fields(inputs)
        deep: Tensor = self.deep(request.flatten(1), candidate.flatten(2), mask)
        return self.bias + deep


def build(config: FNNConfig, spec: InputSpec) -> FNN:
    """See `build_ranker`."""
    return FNN(spec, config)
