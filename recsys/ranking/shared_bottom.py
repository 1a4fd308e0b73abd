"""Shared bottom: one network for all tasks, a tower for each (Caruana 1997)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.ranking.base import network
from recsys.ranking.settings.tasks import SharedBottomConfig
from recsys.ranking.tasks import MultiTaskRanker, towers

__all__ = ["SharedBottom", "build"]


class SharedBottom(MultiTaskRanker):
    """logit_t = bias_t + tower_t(bottom([v, numbers])) (Ma 2018, KDD, equation 1).

    Args:
        spec: inputs; history is not read.
        config: sizes.
        tasks: T.
    """

    def __init__(self, spec: InputSpec, config: SharedBottomConfig, tasks: int) -> None:
        super().__init__(spec, config, tasks)
        self.bottom = network(config, *self.inputs.flat_widths, out=None)
        self.towers = towers(config, tasks)

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, T)`."""
        shared: Tensor = self.bottom(*self.inputs.flat(inputs), mask)
        out: Tensor = self.towers(shared.unsqueeze(2).expand(-1, -1, self.tasks, -1), mask)
        return self.bias + out.squeeze(-1)

    def shared_weights(self) -> list[Tensor]:
        """See `MultiTaskRanker`: of the bottom's last layer."""
        last = self.bottom.layers[-1] if len(self.bottom.layers) else self.bottom.first
        return list(last.parameters())


def build(config: SharedBottomConfig, spec: InputSpec, tasks: int) -> SharedBottom:
    """See `build_ranker`."""
    return SharedBottom(spec, config, tasks)
