"""Two towers: a request's features and history against an item's id and features.

Huang 2013 (DSSM) for the towers; Yi 2019 for the in-batch softmax with temperature and logQ correction. The query tower
starts out as an exponentially decayed mean of the history's item vectors, the strongest simple query there is, and
learns its corrections from there: with freshly drawn layers instead, small logs never catch up with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recsys.errors import DataError
from recsys.features.assemble import HISTORY_MASK, Assembler
from recsys.features.batch import Arrays, Field, Floats, InputSpec
from recsys.features.history import Histories
from recsys.losses.listwise import softmax_cross_entropy
from recsys.nn.embedding import EmbeddingCollection
from recsys.nn.pooling import DecayPooling
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.two_tower import DSSMConfig
from recsys.retrieval.base import Retriever
from recsys.retrieval.encoders import OnnxQueryEncoder
from recsys.retrieval.index import VectorIndex
from recsys.retrieval.vector import VectorRetriever
from recsys.training.batches import Batch, as_tensors
from recsys.training.trainer import seeded, train

__all__ = ["QueryTower", "TwoTower", "fit"]

_SHORT, _LONG = 0.85, 0.98
"""Initial decays of what was last done and of what is usually done."""
_STD = 0.05
_AT = "history.at"
_ITEMS = 4096
"""Items encoded together."""


class _FieldSum(nn.Module):
    """The sum of the embeddings of index fields and of a linear map of the numbers, `(…)` to `(…, D)`.

    The embeddings are passed in, not held: both towers and both kinds of items share them.
    """

    def __init__(self, fields: Sequence[Field], embeddings: EmbeddingCollection) -> None:
        super().__init__()
        self.index = [field for field in fields if field.is_index]
        self.numbers = [field.name for field in fields if not field.is_index]
        self.linear = nn.Linear(len(self.numbers), embeddings.dim, bias=False) if self.numbers else None

    def forward(self, inputs: Mapping[str, Tensor], embeddings: EmbeddingCollection) -> Tensor:
        parts = []
        if self.index:
            parts.append(embeddings(inputs, self.index).sum(-2))
        if self.linear is not None:
            parts.append(self.linear(torch.stack([inputs[name] for name in self.numbers], dim=-1)))
        return torch.stack(parts).sum(0)


class QueryTower(nn.Module):
    """`user.*`, `history.*` and the history mask to a vector of length 1, `(B, D)`.

    Args:
        user: fields of the user; may be none.
        history: fields of past items, without the mask.
        embeddings: shared with the item tower.
        config: sizes.
    """

    def __init__(
        self, user: Sequence[Field], history: Sequence[Field], embeddings: EmbeddingCollection, config: DSSMConfig
    ) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.embeddings = embeddings
        self.user = _FieldSum(user, embeddings) if user else None
        self.history = _FieldSum(history, embeddings)
        self.short = DecayPooling(config.history_length, _SHORT)
        self.long = DecayPooling(config.history_length, _LONG)
        self.from_short = nn.Linear(dim, dim, bias=False)
        self.from_long = nn.Linear(dim, dim, bias=False)
        widths = (3 * dim, *config.hidden)
        layers: list[nn.Module] = []
        for width, following in pairwise(widths):
            layers += [nn.Linear(width, following), nn.GELU(), nn.Dropout(config.dropout / 2)]
        last = nn.Linear(widths[-1], dim)
        self.correction = nn.Sequential(*layers, last)
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():
            self.from_short.weight.copy_(torch.eye(dim))
            self.from_long.weight.zero_()
            last.weight.zero_()
            last.bias.zero_()

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`(B, D)`.

        With an input `history.at` `(B, L)` the `history.*` fields are those of M different items, which it points to:
        a training batch holds the same few items over and over.
        """
        mask = inputs[HISTORY_MASK.name]
        items = self.history(inputs, self.embeddings)
        past = self.dropout(items[inputs[_AT]] if _AT in inputs else items) * mask.unsqueeze(-1)
        short, long = self.short(past, mask), self.long(past, mask)
        user = torch.zeros_like(short) if self.user is None else self.user(inputs, self.embeddings)
        x = self.from_short(short) + self.from_long(long) + user
        x = x + self.correction(torch.cat([short, long, user], dim=-1))
        return functional.normalize(x, dim=-1)


class TwoTower(nn.Module):
    """Both towers, and the in-batch scores they are trained with.

    Args:
        user: fields of the user; may be none.
        item: fields of items; past items have an id table of their own and share the rest.
        config: sizes and temperature.
    """

    def __init__(self, user: Sequence[Field], item: Sequence[Field], config: DSSMConfig) -> None:
        super().__init__()
        history = tuple(_past(field) for field in item)
        index = [field for field in (*user, *item, *history) if field.is_index]
        self.embeddings = EmbeddingCollection(index, config.embedding_dim, std=_STD)
        self.query = QueryTower(user, history, self.embeddings, config)
        self.item = _FieldSum(item, self.embeddings)
        self.dropout = nn.Dropout(config.dropout)
        self.temperature = config.temperature
        self.spec = InputSpec((*user, *history, HISTORY_MASK), config.history_length)

    def items(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`item.*` inputs `(…)` to vectors of length 1, `(…, D)`."""
        return functional.normalize(self.dropout(self.item(inputs, self.embeddings)), dim=-1)

    def forward(self, inputs: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """`(B, B)` scores of every request against every request's item: cosine / temperature − log q(item).

        Items drawn as somebody's positive are negatives of everyone else in proportion to their popularity q;
        subtracting log q makes the softmax that of the whole catalogue (Yi 2019, section 4).
        """
        scores: Tensor = self.query(inputs) @ self.items(inputs).T / self.temperature
        return scores - inputs["logq"].unsqueeze(0)


def _past(field: Field) -> Field:
    """The same field of a past item; the id of what was seen says something else than the id of what to show."""
    name = field.name.partition(".")[2]
    table = "history.item_id" if name == "item_id" else field.table
    return replace(field, name=f"history.{name}", table=table)


@dataclass(frozen=True, slots=True)
class NextItems:
    """Training batches: each event with at least `min_history` before it is the positive of a request.

    Attributes:
        histories: events the route is fitted on.
        user_features: encoded `user.*` arrays.
        assembler: of the query tower's inputs and the items'.
        logq: `(N,)` log share of each item among the events; zeros turn the correction off.
        min_history: earlier events that make a request worth learning from.
        batch_size: requests a batch; the last, smaller one is dropped if it is not the only one.
    """

    histories: Histories
    user_features: Arrays
    assembler: Assembler
    logq: Floats
    min_history: int
    batch_size: int

    def __len__(self) -> int:
        """Batches of an epoch."""
        return max(len(self._targets()) // self.batch_size, 1)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of an epoch, shuffled."""
        targets = rng.permutation(self._targets())
        for number in range(len(self)):
            yield self._batch(targets[number * self.batch_size : (number + 1) * self.batch_size])

    def _targets(self) -> NDArray[np.int64]:
        """Positions in the histories of the events to predict."""
        offsets = self.histories.offsets
        local = np.arange(len(self.histories.items)) - np.repeat(offsets[:-1], self.histories.counts)
        return np.flatnonzero(local >= self.min_history)

    def _batch(self, targets: NDArray[np.int64]) -> Batch:
        users = np.searchsorted(self.histories.offsets, targets, side="right") - 1
        codes = self.histories.items[targets]
        features = {name: values[users] for name, values in self.user_features.items()}
        past = self._past(users, targets)
        items, at = np.unique(past, return_inverse=True)
        arrays = {
            **features,
            **self.assembler.past_inputs(items),
            **self.assembler.item_inputs(codes),
            _AT: at.reshape(past.shape),
            HISTORY_MASK.name: (past >= 0).astype(np.float32),
            "logq": self.logq[codes],
        }
        # The same item twice in a batch is no negative of itself.
        accidental = (codes[:, None] == codes[None, :]) & ~np.eye(len(codes), dtype=bool)
        return Batch(as_tensors(arrays), torch.eye(len(codes)), torch.from_numpy(~accidental))

    def _past(self, users: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int32]:
        """`(B, L)` the items before each target, oldest first, padded with −1 on the right."""
        length = self.assembler.spec.history_length
        begin = np.maximum(self.histories.offsets[users], targets - length)
        where = begin[:, None] + np.arange(length)
        inside = where < targets[:, None]
        return np.where(inside, self.histories.items[np.where(inside, where, 0)], np.int32(-1))


def fit(config: DSSMConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Trains the towers on next items, and serves them as an exact index with an exported query encoder.

    Args:
        config: the route's settings.
        data: events in order.
        context: seed, scratch folder, where curves go.

    Raises:
        DataError: no event has enough history before it, or there is no item field.
        TrainingError: training diverged.
        ParityError: the exported query encoder differs from the trained one.
    """
    user = _selected(data.user_fields, config.user_fields, leave_out="user.user_id")
    item = _selected(data.item_fields, config.item_fields)
    if not item:
        raise DataError("dssm: found no item field; name at least item_id in features.item")
    with seeded(context.seed):
        model = TwoTower(user, item, config)
    assembler = Assembler(data.item_features, InputSpec((*model.spec.fields, *item), config.history_length))
    used = {field.name for field in user}
    features = {name: values for name, values in data.user_features.items() if name in used}
    batches = NextItems(
        data.histories, features, assembler, _logq(data, config), config.min_history, config.training.batch_size
    )
    if not (data.histories.counts > config.min_history).any():
        raise DataError(
            f"dssm: no user has more than min_history = {config.min_history} events in the training window; "
            "lower it, or use itemcf"
        )
    train(model, softmax_cross_entropy, batches, config.training, seed=context.seed, log=context.log)
    model.eval()
    index = VectorIndex(_item_vectors(model, assembler, data.n_items))
    path = context.folder / "encoder.onnx"
    context.export(model.query, model.spec, path)
    return VectorRetriever(index, OnnxQueryEncoder(path, model.spec, data.item_features))


def _selected(fields: Sequence[Field], names: Sequence[str] | None, leave_out: str = "") -> tuple[Field, ...]:
    """The named fields, or all but one."""
    if names is None:
        return tuple(field for field in fields if field.name != leave_out)
    return tuple(field for field in fields if field.name.partition(".")[2] in names)


def _logq(data: TrainingData, config: DSSMConfig) -> Floats:
    if not config.logq_correction:
        return np.zeros(data.n_items, dtype=np.float32)
    counts = data.counts + 1.0
    shares: Floats = np.log(counts / counts.sum()).astype(np.float32)
    return shares


@torch.no_grad()
def _item_vectors(model: TwoTower, assembler: Assembler, n_items: int) -> Floats:
    parts = []
    for start in range(0, n_items, _ITEMS):
        codes = np.arange(start, min(start + _ITEMS, n_items), dtype=np.int32)
        parts.append(model.items(as_tensors(assembler.item_inputs(codes))).numpy())
    return np.concatenate(parts)
