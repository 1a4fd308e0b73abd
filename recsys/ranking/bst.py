"""BST: a transformer over the history and the candidate (Chen 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.sequence import AttentionBlock, hidden_keys, newest_first
from recsys.ranking.base import from_zero, network
from recsys.ranking.sequences import SequenceRanker, check_heads
from recsys.ranking.settings.sequences import BSTConfig

__all__ = ["BST", "build"]

_STD = 0.02


class BST(SequenceRanker):
    """The candidate is put before the history; what a transformer makes of all of them goes into a network (figure 1).

    Places are counted from the candidate, and their vectors added; the paper counts the time between, which histories
    here do not hold. The blocks are `AttentionBlock`s with a GELU, where the paper has a LeakyReLU; the network's
    activation is a setting.

    Args:
        spec: see `SequenceRanker`.
        config: sizes.

    Raises:
        ConfigError: the heads do not divide an item's vector.
    """

    def __init__(self, spec: InputSpec, config: BSTConfig) -> None:
        super().__init__(spec, config)
        width = self.width
        check_heads(config, width)
        self.length = spec.history_length
        self.places = nn.Parameter(torch.randn(self.length + 1, width) * _STD)
        self.blocks = nn.ModuleList(
            AttentionBlock(width, config.heads, config.feed_forward, config.attention_dropout, "post")
            for _ in range(config.blocks)
        )
        request, candidate = self.inputs.flat_widths
        self.deep = from_zero(network(config, request, candidate + (self.length + 1) * width))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        seen = self.compared(inputs)
        past, real = newest_first(seen.keys, seen.real, self.length)
        candidates = seen.query.shape[1]
        x = torch.cat([seen.query.unsqueeze(2), past.unsqueeze(1).expand(-1, candidates, -1, -1)], dim=2) + self.places
        here = torch.cat([torch.ones_like(real[:, :1]), real], dim=1).unsqueeze(1).expand(-1, candidates, -1)
        hidden, states = hidden_keys(here.flatten(0, 1)), x.flatten(0, 1)
        for block in self.blocks:
            states = block(states, hidden)
        flat = states.view(x.shape) * here.unsqueeze(-1)
        deep: Tensor = self.deep(seen.request, torch.cat([seen.candidate, flat.flatten(2)], dim=-1), mask)
        return self.bias + deep


def build(config: BSTConfig, spec: InputSpec) -> BST:
    """See `build_ranker`."""
    return BST(spec, config)
