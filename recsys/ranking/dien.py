"""DIEN: interests, and how they evolve towards the candidate (Zhou 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from recsys.features.batch import InputSpec
from recsys.nn.interests import AttentionalGRU, InterestAttention
from recsys.nn.sequence import RecurrentStates
from recsys.ranking.base import from_zero, network
from recsys.ranking.sequences import Compared, SequenceRanker
from recsys.ranking.settings.sequences import DIENConfig

__all__ = ["DIEN", "build"]


class DIEN(SequenceRanker):
    """A GRU finds the interest behind each past item, an AUGRU follows those that concern the candidate (figure 1).

    In training each interest also has to tell the next past item from another (equation 1): `with_auxiliary`.

    Args:
        spec: see `SequenceRanker`.
        config: sizes.
    """

    def __init__(self, spec: InputSpec, config: DIENConfig) -> None:
        super().__init__(spec, config)
        self.weight = config.auxiliary
        self.interests = RecurrentStates(self.width)
        self.attention = InterestAttention(self.width, self.width)
        self.evolution = AttentionalGRU(self.width, self.width)
        request, candidate = self.inputs.flat_widths
        self.deep = from_zero(network(config, request, candidate + self.width))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        seen = self.compared(inputs)
        return self._scores(seen, self._interests(seen), mask)

    def with_auxiliary(self, inputs: Mapping[str, Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """`(B, C, 1)`, and the loss of telling next items from others by the interests before them."""
        seen = self.compared(inputs)
        states = self._interests(seen)
        return self._scores(seen, states, mask), self.weight * next_item_loss(states, seen.keys, seen.real)

    def _interests(self, seen: Compared) -> Tensor:
        states: Tensor = self.interests(seen.keys, seen.real)
        return states

    def _scores(self, seen: Compared, states: Tensor, mask: Tensor | None) -> Tensor:
        evolved = self.evolution(states, self.attention(seen.query, states, seen.real))
        deep: Tensor = self.deep(seen.request, torch.cat([seen.candidate, evolved], dim=-1), mask)
        return self.bias + deep


def next_item_loss(states: Tensor, items: Tensor, real: Tensor) -> Tensor:
    """Mean of −log σ(h·e) over next items e and −log(1 − σ(h·e)) over others (Zhou 2019, equation 1).

    The others are past items of the batch, drawn evenly.

    Args:
        states: `(B, L, K)` interests h.
        items: `(B, L, K)` past items e.
        real: `(B, L)` true at real positions, which come first.

    Returns:
        A scalar; 0 where no position has a next.
    """
    length = real.shape[1]
    offered = real.flatten().nonzero().squeeze(1)
    after = offered[offered % length > 0]
    if not len(after):
        return states.sum() * 0.0
    every = items.flatten(0, 1)
    interests = states.flatten(0, 1).index_select(0, after - 1)
    others = offered[torch.randint(len(offered), after.shape, device=offered.device)]
    nearer = (interests * every.index_select(0, after)).sum(-1)
    farther = (interests * every.index_select(0, others)).sum(-1)
    return -(functional.logsigmoid(nearer) + functional.logsigmoid(-farther)).mean()


def build(config: DIENConfig, spec: InputSpec) -> DIEN:
    """See `build_ranker`."""
    return DIEN(spec, config)
