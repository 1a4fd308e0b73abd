"""The two towers.

The query tower reads user features and the vectors of past items, `(B, L, D)`, through a history encoder; the item
tower sums the vectors of an item's fields. Huang 2013 (DSSM) for the towers, Yi 2019 for temperature and correction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, Floats, InputSpec
from recsys.nn.dropout import Dropout
from recsys.nn.embedding import EmbeddingCollection
from recsys.nn.linear import Linear
from recsys.nn.pooling import AttentionPooling, DecayPooling, MeanPooling
from recsys.nn.sequence import RecurrentStates, SelfAttentionStates, last_state
from recsys.nn.stacked import columns
from recsys.recall.settings.two_tower import (
    AttentionEncoder,
    DecayEncoder,
    EncoderConfig,
    MeanEncoder,
    RecurrentEncoder,
    SelfAttentionEncoder,
    TwoTowerConfig,
)

__all__ = [
    "HISTORY_AT",
    "LOG_Q",
    "STATES_AT",
    "FieldSum",
    "HistoryEncoder",
    "QueryTower",
    "TwoTower",
    "history_encoder",
]

HISTORY_AT = "history.at"
"""With this input `(B, L)` the `history.*` fields are those of M different items, which it points to."""
STATES_AT = "states.at"
"""With this input `(P,)` there is a request for every state it points to, of B·L; without it, for the last of each."""
LOG_Q = "logq"
"""`(M,)` logarithm of how often a column's item is drawn."""
_SHORT, _LONG = 0.85, 0.98
"""Initial decays of what was last done and of what is usually done."""
_STD = 0.05


class FieldSum(nn.Module):
    """The sum of the embeddings of index fields and of a linear map of the numbers, `(…)` to `(…, D)`.

    The embeddings are passed in, not held: both towers and both kinds of items share them.
    """

    def __init__(self, fields: Sequence[Field], embeddings: EmbeddingCollection) -> None:
        super().__init__()
        self.index = [field for field in fields if field.is_index]
        self.numbers = [field for field in fields if not field.is_index]
        self.linear = Linear(len(self.numbers), embeddings.dim, bias=False) if self.numbers else None

    def forward(self, inputs: Mapping[str, Tensor], embeddings: EmbeddingCollection) -> Tensor:
        """Looks the fields up among the inputs."""
        parts = []
        if self.index:
            parts.append(embeddings(inputs, self.index).sum(-2))
        if self.linear is not None:
            parts.append(self.linear(columns(inputs, self.numbers)))
        return torch.stack(parts).sum(0)


class HistoryEncoder(nn.Module):
    """Makes a vector of past items `(B, L, D)`, oldest first and padding last, with a mask `(B, L)`.

    Attributes:
        width: numbers that further layers read of the history.
    """

    width: int

    def forward(self, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A vector `(B, D)`, and what further layers read, `(B, width)`."""
        raise NotImplementedError

    def every(self, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The same for every position, `(B, L, …)`; only of causal encoders."""
        raise NotImplementedError


class _Decays(HistoryEncoder):
    """Two decayed means, the short one alone at first, which is the strongest simple query there is."""

    def __init__(self, dim: int, length: int) -> None:
        super().__init__()
        self.width = 2 * dim
        self.short = DecayPooling(length, _SHORT)
        self.long = DecayPooling(length, _LONG)
        self.from_short = Linear(dim, dim, bias=False)
        self.from_long = Linear(dim, dim, bias=False)
        with torch.no_grad():
            self.from_short.weight.copy_(torch.eye(dim))
            self.from_long.weight.zero_()

    def forward(self, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        short, long = self.short(past, mask), self.long(past, mask)
        return self.from_short(short) + self.from_long(long), torch.cat([short, long], dim=-1)


class _Pooled(HistoryEncoder):
    """One vector of the history, by itself."""

    def __init__(self, pooling: nn.Module, dim: int) -> None:
        super().__init__()
        self.width = dim
        self.pooling = pooling

    def forward(self, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.pooling(past, mask)
        return pooled, pooled


class _Last(HistoryEncoder):
    """The last state of a causal encoder; all of them in training."""

    def __init__(self, states: nn.Module, dim: int) -> None:
        super().__init__()
        self.width = dim
        self.states = states

    def forward(self, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        last = last_state(self.states(past, mask), mask)
        return last, last

    def every(self, past: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.states(past, mask)
        return states, states


def history_encoder(config: EncoderConfig, dim: int, length: int, dropout: float) -> HistoryEncoder:
    """The module of a configuration, for vectors of length D = `dim` and histories of at most L = `length` items."""
    match config:
        case DecayEncoder():
            return _Decays(dim, length)
        case MeanEncoder():
            return _Pooled(MeanPooling(config.power), dim)
        case AttentionEncoder():
            return _Pooled(AttentionPooling(dim), dim)
        case RecurrentEncoder():
            return _Last(RecurrentStates(dim, kind=config.kind, layers=config.layers, dropout=dropout), dim)
        case SelfAttentionEncoder():
            states = SelfAttentionStates(
                dim,
                length,
                blocks=config.blocks,
                heads=config.heads,
                feed_forward=config.feed_forward,
                dropout=dropout,
                norm=config.norm,
                positions=config.positions,
            )
            return _Last(states, dim)


class QueryTower(nn.Module):
    """`user.*`, `history.*` and the history mask to a vector `(B, D)`, of length 1 for cosines.

    Args:
        user: fields of the user; may be none.
        history: fields of past items, without the mask.
        embeddings: shared with the item tower.
        config: sizes and kinds.
    """

    def __init__(
        self, user: Sequence[Field], history: Sequence[Field], embeddings: EmbeddingCollection, config: TwoTowerConfig
    ) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.embeddings = embeddings
        self.user = FieldSum(user, embeddings) if user else None
        self.history = FieldSum(history, embeddings)
        self.encoder = history_encoder(config.encoder, dim, config.history_length, config.dropout)
        self.correction = _correction(self.encoder.width + dim, dim, config) if config.hidden else None
        self.dropout = Dropout(config.dropout)
        self.cosine = config.similarity == "cosine"
        self.bias = config.item_bias

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`(B, D)`, or `(P, D)` with an input `states.at`."""
        mask = inputs[HISTORY_MASK.name]
        items = self.history(inputs, self.embeddings)
        past = self.dropout(items[inputs[HISTORY_AT]] if HISTORY_AT in inputs else items) * mask.unsqueeze(-1)
        every = STATES_AT in inputs
        x, features = self.encoder.every(past, mask) if every else self.encoder(past, mask)
        user = torch.zeros_like(x[..., :1]) if self.user is None else self.user(inputs, self.embeddings)
        user = (user.unsqueeze(1) if every and self.user is not None else user).expand_as(x)
        if every:
            x, features, user = (part.flatten(0, 1)[inputs[STATES_AT]] for part in (x, features, user))
        x = x + user
        if self.correction is not None:
            x = x + self.correction(torch.cat([features, user], dim=-1))
        if self.cosine:
            x = functional.normalize(x, dim=-1)
        return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1) if self.bias else x


def _correction(width: int, dim: int, config: TwoTowerConfig) -> nn.Sequential:
    """Layers whose output is zero at first: with freshly drawn ones small logs never catch up with the plain mean."""
    layers: list[nn.Module] = []
    for before, after in pairwise((width, *config.hidden)):
        layers += [Linear(before, after), nn.GELU(), Dropout(config.dropout / 2)]
    last = Linear(config.hidden[-1], dim)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    return nn.Sequential(*layers, last)


class TwoTower(nn.Module):
    """Both towers, and the scores they are trained with.

    Args:
        user: fields of the user; may be none.
        item: fields of items; past items share their tables, but for that of the id unless `shared_items`.
        config: sizes and kinds.
    """

    def __init__(self, user: Sequence[Field], item: Sequence[Field], config: TwoTowerConfig) -> None:
        super().__init__()
        history = tuple(_past(field, shared=config.shared_items) for field in item)
        index = [field for field in (*user, *item, *history) if field.is_index]
        self.embeddings = EmbeddingCollection(index, config.embedding_dim, std=_STD)
        self.query = QueryTower(user, history, self.embeddings, config)
        self.item = FieldSum(item, self.embeddings)
        self.dropout = Dropout(config.item_dropout)
        self.cosine = config.similarity == "cosine"
        self.log_scale = nn.Parameter(-torch.tensor(config.temperature).log(), requires_grad=config.learn_temperature)
        self.bias = EmbeddingCollection([f for f in item if f.is_index], 1, std=0.0) if config.item_bias else None
        self.spec = InputSpec((*user, *history, HISTORY_MASK), config.history_length)

    def items(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`item.*` inputs `(…)` to vectors `(…, D)`, of length 1 for cosines; a bias is one more number."""
        vectors = self.dropout(self.item(inputs, self.embeddings))
        if self.cosine:
            vectors = functional.normalize(vectors, dim=-1)
        return vectors if self.bias is None else torch.cat([vectors, self.biases(inputs)], dim=-1)

    def biases(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`(…, 1)` what is added to every score of an item: a number for each of its fields."""
        assert self.bias is not None
        summed: Tensor = self.bias(inputs, self.item.index).sum(-2)
        return summed

    @torch.no_grad()
    def start_from(self, candidates: Floats, past: Floats, rows: NDArray[np.int64]) -> None:
        """Gives item ids the vectors of another model.

        Args:
            candidates: `(N, D)` of items as candidates.
            past: `(N, D)` of items in the history.
            rows: `(N,)` the row of each item's id in its table.
        """
        for name, vectors in (("item.item_id", candidates), ("history.item_id", past)):
            field = next(f for f in self.embeddings.fields if f.name == name)
            own = rows > 1
            where = torch.from_numpy(rows[own]) + self.embeddings.offsets[field.table]
            self.embeddings.weight[where] = torch.from_numpy(vectors[own])

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(P, M)` scores of every request against the items of all columns: similarity / temperature − log q(item).

        Items drawn as somebody's positive are negatives of everyone else in proportion to their popularity q;
        subtracting log q makes the softmax that of the whole catalogue (Yi 2019, section 4).
        """
        # The queries are scaled, not the scores: of those there are far more.
        scores: Tensor = (self.query(inputs) * self.log_scale.exp()) @ self.items(inputs).T
        return scores - inputs[LOG_Q].unsqueeze(0) if LOG_Q in inputs else scores


def _past(field: Field, *, shared: bool) -> Field:
    """The same field of a past item; the id of what was seen may say something else than the id of what to show."""
    name = field.name.partition(".")[2]
    table = "history.item_id" if name == "item_id" and not shared else field.table
    return replace(field, name=f"history.{name}", table=table)
