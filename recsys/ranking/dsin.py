"""DSIN: the history as sessions (Feng 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.features.batch import InputSpec
from recsys.nn.interests import InterestAttention
from recsys.nn.sequence import AttentionBlock, BothWaysStates, hidden_keys, newest_first
from recsys.ranking.base import from_zero, network
from recsys.ranking.sequences import SequenceRanker, check_heads
from recsys.ranking.settings.sequences import DSINConfig

__all__ = ["DSIN", "build"]


class DSIN(SequenceRanker):
    """Each session attends to itself, a Bi-LSTM reads the sessions, and the candidate weighs them (figure 2).

    Sessions and the items in them are counted from the newest, so that what is added for their places means the same
    for short histories and long ones. The paper cuts where nothing happened for half an hour; histories here hold no
    times, so a session is a number of items. The block is `AttentionBlock`, whose feed-forward layer has a GELU.

    Args:
        spec: see `SequenceRanker`.
        config: sizes.

    Raises:
        ConfigError: the heads do not divide an item's vector.
    """

    def __init__(self, spec: InputSpec, config: DSINConfig) -> None:
        super().__init__(spec, config)
        width = self.width
        check_heads(config, width)
        self.items = min(config.session_length, spec.history_length)
        self.sessions = -(-spec.history_length // self.items)
        self.session_bias = nn.Parameter(torch.zeros(self.sessions, 1, 1))
        self.item_bias = nn.Parameter(torch.zeros(1, self.items, 1))
        self.unit_bias = nn.Parameter(torch.zeros(1, 1, width))
        self.block = AttentionBlock(width, config.heads, config.feed_forward, config.attention_dropout, "post")
        self.order = BothWaysStates(width)
        self.interest = InterestAttention(width, width)
        self.evolved = InterestAttention(width, width)
        request, candidate = self.inputs.flat_widths
        self.deep = from_zero(network(config, request, candidate + 2 * width))

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, C, 1)`."""
        seen = self.compared(inputs)
        vectors, real = newest_first(seen.keys, seen.real, self.sessions * self.items)
        interests, held = self._sessions(vectors, real)
        evolved = self.order(interests, held)
        present = self.interest(seen.query, interests, held) @ interests
        moving = self.evolved(seen.query, evolved, held) @ evolved
        deep: Tensor = self.deep(seen.request, torch.cat([seen.candidate, present, moving], dim=-1), mask)
        return self.bias + deep

    def _sessions(self, vectors: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Items `(B, S·T, K)`, newest first, to interests `(B, S, K)`, and `(B, S)` true at sessions with items."""
        sizes = (-1, self.sessions, self.items)
        places = self.session_bias + self.item_bias + self.unit_bias
        x = (vectors.reshape(*sizes, self.width) + places).flatten(0, 1)
        here = real.reshape(-1, self.items)
        states = self.block(x, hidden_keys(here)) * here.unsqueeze(-1)
        interests = states.sum(1) / here.sum(1, keepdim=True).clamp(min=1)
        return interests.reshape(-1, self.sessions, self.width), here.any(1).reshape(-1, self.sessions)


def build(config: DSINConfig, spec: InputSpec) -> DSIN:
    """See `build_ranker`."""
    return DSIN(spec, config)
