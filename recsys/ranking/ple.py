"""PLE: shared experts and experts of one task only, extracted level by level (Tang 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.experts import Experts, ParallelLinear, ParallelMLP, mixed
from recsys.nn.mlp import SplitLinear
from recsys.ranking.settings.tasks import PLEConfig
from recsys.ranking.tasks import MultiTaskRanker, experts, networks, towers

__all__ = ["PLE", "build"]


class PLE(MultiTaskRanker):
    """Each level mixes, for each task, its own experts and the shared ones (section 4.2, figure 5).

    Every level but the last also mixes all experts for the shared ones of the next level. The gates of the first level
    look at the inputs, those of the others at what the level before gave for the same task.

    Args:
        spec: inputs; history is not read.
        config: sizes.
        tasks: T.
    """

    opened: Tensor
    owner: Tensor

    def __init__(self, spec: InputSpec, config: PLEConfig, tasks: int) -> None:
        super().__init__(spec, config, tasks)
        # Whose each expert is: task 0, …, task T − 1, or T for all.
        own = torch.arange(tasks).repeat_interleave(config.task_experts)
        owner = torch.cat([own, torch.full((config.shared_experts,), tasks)])
        mine = (owner == torch.arange(tasks).unsqueeze(1)) | (owner == tasks)
        opened = torch.cat([mine, torch.ones(1, len(owner), dtype=torch.bool)])
        self.register_buffer("opened", torch.where(opened, 0.0, -torch.inf), persistent=False)
        self.register_buffer("owner", owner, persistent=False)
        widths, width = self.inputs.flat_widths, config.hidden[-1]
        self.first = experts(config, len(owner), *widths)
        self.first_gates = SplitLinear(*widths, self._heads(0, config) * len(owner), bias=False)
        later = range(1, config.levels)
        self.levels = nn.ModuleList(networks(config, len(owner), width, config.hidden) for _ in later)
        self.gates = nn.ModuleList(ParallelLinear(self._heads(level, config), width, len(owner)) for level in later)
        self.towers = towers(config, tasks)

    def _heads(self, level: int, config: PLEConfig) -> int:
        """Mixtures that a level gives: one a task, and before the last level one for the shared experts."""
        return self.tasks + (level < config.levels - 1)

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, T)`."""
        x = self.inputs.flat(inputs)
        gates: Tensor = self.first_gates(*x)
        read = self._mixed(self.first(*x, mask), gates.reshape(*gates.shape[:2], -1, len(self.owner)))
        for level, gate in zip(self.levels, self.gates, strict=True):
            assert isinstance(gate, ParallelLinear)
            read = self._mixed(level(read[:, :, self.owner], mask), gate(read[:, :, : len(gate.weight)]))
        out: Tensor = self.towers(read, mask)
        return self.bias + out.squeeze(-1)

    def _mixed(self, experts: Tensor, gates: Tensor) -> Tensor:
        return mixed(experts, gates + self.opened[: gates.shape[2]])

    def shared_weights(self) -> list[Tensor]:
        """See `MultiTaskRanker`: of the last level's experts; a task's own ones have no gradient of the others."""
        last = self.levels[-1] if len(self.levels) else self.first
        assert isinstance(last, Experts | ParallelMLP)
        return last.last_weights()


def build(config: PLEConfig, spec: InputSpec, tasks: int) -> PLE:
    """See `build_ranker`."""
    return PLE(spec, config, tasks)
