"""MMoE: experts that all tasks share, mixed by a gate for each task (Ma 2018, KDD)."""

from collections.abc import Mapping

from torch import Tensor

from recsys.features.batch import InputSpec
from recsys.nn.experts import mixed
from recsys.nn.mlp import SplitLinear
from recsys.ranking.settings.tasks import MMoEConfig
from recsys.ranking.tasks import MultiTaskRanker, experts, towers

__all__ = ["MMoE", "build"]


class MMoE(MultiTaskRanker):
    """logit_t = bias_t + tower_t(Σ_e softmax(W_t·x)_e · expert_e(x)), x = [v, numbers] (equations 6 and 7).

    Args:
        spec: inputs; history is not read.
        config: sizes.
        tasks: T.
    """

    def __init__(self, spec: InputSpec, config: MMoEConfig, tasks: int) -> None:
        super().__init__(spec, config, tasks)
        widths = self.inputs.flat_widths
        self.experts = experts(config, config.experts, *widths)
        self.gates = SplitLinear(*widths, tasks * config.experts, bias=False)
        self.towers = towers(config, tasks)

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, T)`."""
        x = self.inputs.flat(inputs)
        gates: Tensor = self.gates(*x)
        read = mixed(self.experts(*x, mask), gates.reshape(*gates.shape[:2], self.tasks, -1))
        out: Tensor = self.towers(read, mask)
        return self.bias + out.squeeze(-1)

    def shared_weights(self) -> list[Tensor]:
        """See `MultiTaskRanker`: of the experts' last layers."""
        return self.experts.last_weights()


def build(config: MMoEConfig, spec: InputSpec, tasks: int) -> MMoE:
    """See `build_ranker`."""
    return MMoE(spec, config, tasks)
