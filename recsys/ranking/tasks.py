"""What rankers of several tasks share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.experts import Experts, ParallelMLP
from recsys.ranking.base import Ranker
from recsys.ranking.settings.base import NetworkSettings
from recsys.ranking.settings.tasks import MultiTaskSettings

__all__ = ["MultiTaskRanker", "experts", "networks", "towers"]


class MultiTaskRanker(Ranker):
    """A ranker of T tasks: `forward` gives `(B, C, T)`.

    Args:
        spec: inputs; history is not read.
        config: sizes.
        tasks: T.
    """

    def __init__(self, spec: InputSpec, config: NetworkSettings, tasks: int) -> None:
        super().__init__(spec, config.embedding_dim, config.embedding_dropout)
        self.tasks = tasks
        self.bias = nn.Parameter(torch.zeros(tasks))

    def shared_weights(self) -> list[Tensor]:
        """The last weights that all tasks share: what their gradients are compared on (Chen 2018, section 3.1)."""
        raise NotImplementedError


def experts(config: MultiTaskSettings, count: int, request: int, candidate: int) -> Experts:
    """So many networks of `hidden` layers over a request and its candidates of these widths."""
    return Experts(
        count,
        request,
        candidate,
        config.hidden,
        activation=config.activation,
        dropout=config.dropout,
        norm=config.norm,
    )


def networks(
    config: MultiTaskSettings, count: int, width: int, hidden: Sequence[int], *, out: int | None = None
) -> ParallelMLP:
    """So many networks, each on an input of its own of this width."""
    return ParallelMLP(
        count,
        width,
        hidden,
        out=out,
        activation=config.activation,
        dropout=config.dropout,
        norm=config.norm,
    )


def towers(config: MultiTaskSettings, tasks: int) -> ParallelMLP:
    """A network for each task, `(B, C, T, last of hidden)` to `(B, C, T, 1)`: it starts as a correction of nothing."""
    network = networks(config, tasks, config.hidden[-1], config.tower_hidden, out=1)
    with torch.no_grad():
        for weight in network.last_weights():
            weight.zero_()
    return network
