"""The ranker contract: `forward(inputs, mask) -> (B, C, T)` logits, and what rankers share.

A ranker reads exactly the inputs of its `spec`. Whatever depends on the request alone is computed once a request.
Padded candidates and padded history change nothing for the others.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recsys.errors import ConfigError, DataError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec, Side
from recsys.nn.dropout import Dropout
from recsys.nn.embedding import EmbeddingCollection, NumberVectors
from recsys.nn.mlp import MLP
from recsys.nn.norm import InputStandardise, Moments
from recsys.nn.stacked import columns
from recsys.ranking.configs import RankerConfig
from recsys.ranking.settings.base import NetworkSettings
from recsys.ranking.settings.sequences import SequenceSettings
from recsys.training.batches import Batch, SampleSource

__all__ = ["FieldInputs", "Ranker", "from_zero", "network", "select_inputs", "side_by_side"]

_REQUEST: tuple[Side, ...] = ("user", "context")
_CANDIDATE: tuple[Side, ...] = ("item", "route")


def select_inputs(spec: InputSpec, config: RankerConfig) -> InputSpec:
    """The inputs a ranker reads: those named, or all, without those excluded.

    Of the history, sequence rankers read the categorical fields that the candidates have too, and its mask; others read
    none of it.

    Args:
        spec: every input there is.
        config: of the ranker.

    Returns:
        The inputs in the order of `spec`; the history is as long as the shorter of both says.

    Raises:
        ConfigError: a name is no input, or nothing that differs between candidates is left.
    """
    known = {field.name for field in spec.fields}
    for name in (*(config.fields or ()), *config.exclude):
        if name not in known:
            raise ConfigError(f"ranking.model: no model input {name}; there are {', '.join(sorted(known))}")
    wanted = known.difference(config.exclude).intersection(known if config.fields is None else config.fields)
    chosen = {field.name for field in spec.side(*_REQUEST, *_CANDIDATE) if field.name in wanted}
    if not any(field.name in chosen for field in spec.side(*_CANDIDATE)):
        raise ConfigError("ranking.model.fields: found no item.* or route.* input, so all candidates would score alike")
    length = spec.history_length
    if isinstance(config, SequenceSettings):
        length = min(length, config.history_length)
        past = {f.name for f in spec.side("history") if f.is_index and f.name in wanted and _twin(f) in chosen}
        chosen |= past | ({HISTORY_MASK.name} if past else set())
    return InputSpec(tuple(field for field in spec.fields if field.name in chosen), length)


def _twin(past: Field) -> str:
    """Name of the candidate's field that a field of past items is compared with."""
    return f"item.{past.name.partition('.')[2]}"


class FieldInputs(nn.Module):
    """Embeddings of the index fields and standardised numbers, of the request and of the candidates.

    Args:
        spec: the ranker's inputs.
        dim: D, length of an embedding; 0 for models that have none.
        dropout: on embeddings.
        number_vectors: whether numbers are fields with vectors, too; see `fields`.
    """

    def __init__(self, spec: InputSpec, dim: int, dropout: float, *, number_vectors: bool = False) -> None:
        super().__init__()
        self.request = [field for field in spec.side(*_REQUEST) if field.is_index]
        self.candidate = [field for field in spec.side(*_CANDIDATE) if field.is_index]
        self.past = [field for field in spec.side("history") if field.is_index]
        self.request_numbers = [field for field in spec.side(*_REQUEST) if not field.is_index]
        self.candidate_numbers = [field for field in spec.side(*_CANDIDATE) if not field.is_index]
        self.first = spec.side(*_CANDIDATE)[0]
        index = [*self.request, *self.candidate, *self.past]
        self.embeddings = EmbeddingCollection(index, dim) if index and dim else None
        self.dim = dim
        self.dropout = Dropout(dropout)
        self.standardise_request = InputStandardise(len(self.request_numbers))
        self.standardise_candidate = InputStandardise(len(self.candidate_numbers))
        self.request_vectors = NumberVectors(len(self.request_numbers), dim) if number_vectors else None
        self.candidate_vectors = NumberVectors(len(self.candidate_numbers), dim) if number_vectors else None

    @property
    def flat_widths(self) -> tuple[int, int]:
        """Widths of the two sides that `flat` gives."""
        return (
            len(self.request) * self.dim + len(self.request_numbers),
            len(self.candidate) * self.dim + len(self.candidate_numbers),
        )

    @property
    def field_counts(self) -> tuple[int, int]:
        """F and G of what `fields` gives."""
        return len(self.request) + len(self.request_numbers), len(self.candidate) + len(self.candidate_numbers)

    def measure(self, batch: Batch, request: Moments, candidate: Moments) -> None:
        """Adds the numbers of a batch, of its requests and of its real candidates, to what they are standardised by."""
        if self.request_numbers:
            request.add(columns(batch.inputs, self.request_numbers))
        if self.candidate_numbers:
            candidate.add(_real(batch, columns(batch.inputs, self.candidate_numbers)))

    def shape(self, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        """B and C."""
        values = inputs[self.first.name]
        return values.shape[0], values.shape[1]

    def vectors(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings of the request `(B, F, D)` and of the candidates `(B, C, G, D)`; F or G may be 0."""
        b, c = self.shape(inputs)
        request, candidate = self._embedded(inputs, (self.request, (b,)), (self.candidate, (b, c)))
        return request, candidate

    def vectors_and_past(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What `vectors` gives, and embeddings of past items `(B, L, P, D)`; P may be 0."""
        b, c = self.shape(inputs)
        past = (b, inputs[HISTORY_MASK.name].shape[1])
        sides = (self.request, (b,)), (self.candidate, (b, c)), (self.past, past)
        request, candidate, before = self._embedded(inputs, *sides)
        return request, candidate, before

    def rows(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """`(n,)` rows of the embeddings that a batch holds, as often as it holds them; there must be embeddings."""
        assert self.embeddings is not None
        some = [fields for fields in (self.request, self.candidate, self.past) if fields]
        return torch.cat([self.embeddings.rows(inputs, fields).flatten() for fields in some])

    def numbers(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Standardised numbers of the request `(B, R)` and of the candidates `(B, C, S)`; R or S may be 0."""
        b, c = self.shape(inputs)
        request = _stacked(inputs, self.request_numbers, (b, 0), self.standardise_request)
        return request, _stacked(inputs, self.candidate_numbers, (b, c, 0), self.standardise_candidate)

    def flat(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings and numbers side by side: of the request `(B, K)`, K may be 0, of the candidates `(B, C, M)`."""
        return side_by_side(self.vectors(inputs), self.numbers(inputs))

    def fields(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """A vector for every input, a number's being the number times its own (Rendle 2010, equation 1).

        Of the request `(B, F, D)`, F may be 0, and of the candidates `(B, C, G, D)`. Needs `number_vectors`.
        """
        assert self.request_vectors is not None
        assert self.candidate_vectors is not None
        vectors, numbers = self.vectors(inputs), self.numbers(inputs)
        return (
            torch.cat([vectors[0], self.dropout(self.request_vectors(numbers[0]))], dim=-2),
            torch.cat([vectors[1], self.dropout(self.candidate_vectors(numbers[1]))], dim=-2),
        )

    def _embedded(self, inputs: Mapping[str, Tensor], *sides: tuple[list[Field], tuple[int, ...]]) -> list[Tensor]:
        """`(*leading, F, D)` for the fields and leading axes of each side."""
        some = [fields for fields, _ in sides if fields]
        found: list[Tensor] = []
        if self.embeddings is not None and some:
            found = [self.dropout(vectors) for vectors in self.embeddings.together(inputs, *some)]
        device = inputs[self.first.name].device
        given = iter(found)
        return [
            next(given) if fields and found else torch.zeros((*leading, 0, self.dim), device=device)
            for fields, leading in sides
        ]


def _stacked(
    inputs: Mapping[str, Tensor], fields: list[Field], empty: tuple[int, ...], standardise: InputStandardise
) -> Tensor:
    if not fields:
        return torch.zeros(empty, device=next(iter(inputs.values())).device)
    numbers: Tensor = standardise(columns(inputs, fields))
    return numbers


def _real(batch: Batch, values: Tensor) -> Tensor:
    """Of the values `(B, C, D)`, those of real candidates: `(n, D)`."""
    return values.flatten(0, 1) if batch.mask is None else values[batch.mask]


class Ranker(nn.Module):
    """What every ranker is.

    Attributes:
        spec: the inputs it reads.
        inputs: their embeddings and numbers.
        bias: starts at the log-odds of the training labels, so that training is not spent on finding the base rate.
    """

    def __init__(self, spec: InputSpec, dim: int, embedding_dropout: float, *, number_vectors: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.inputs = FieldInputs(spec, dim, embedding_dropout, number_vectors=number_vectors)
        self.bias = nn.Parameter(torch.zeros(1))

    def fit_inputs(self, samples: SampleSource) -> None:
        """Sets what is taken from the training samples before the first step, in one pass over them.

        Raises:
            DataError: none of their candidates is real.
        """
        request, candidate, labels, offsets = Moments(), Moments(), Moments(), Moments()
        for batch in samples.in_order():
            self.inputs.measure(batch, request, candidate)
            labels.add(_real(batch, batch.labels.reshape(*batch.labels.shape[:2], -1)))
            if batch.offset is not None:
                offsets.add(_real(batch, batch.offset.unsqueeze(-1)))
        if labels.count == 0:
            raise DataError("no labelled candidate to train on; check the mask")
        self.inputs.standardise_request.fit(request)
        self.inputs.standardise_candidate.fit(candidate)
        self.start_at(labels.mean)
        if offsets.count:
            with torch.no_grad():
                self.bias.sub_(offsets.mean.to(self.bias))

    @torch.no_grad()
    def start_at(self, rates: Tensor) -> None:
        """Sets the bias to what says these rates of positives `(T,)`."""
        self.bias.copy_(torch.logit(rates, eps=1e-4))


def side_by_side(vectors: tuple[Tensor, Tensor], numbers: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Vectors `(B, F, D)`, `(B, C, G, D)` and numbers `(B, R)`, `(B, C, S)` to `(B, F·D + R)` and `(B, C, G·D + S)`."""
    return (
        torch.cat([vectors[0].flatten(1), numbers[0]], dim=-1),
        torch.cat([vectors[1].flatten(2), numbers[1]], dim=-1),
    )


def network(config: NetworkSettings, request: int, candidate: int, *, out: int | None = 1) -> MLP:
    """The network of a ranker's settings, over a request and its candidates of these widths, to `out` as in `MLP`."""
    return MLP(
        request,
        candidate,
        config.hidden,
        out=out,
        activation=config.activation,
        norm=config.norm,
        dropout=config.dropout,
    )


def from_zero(network: MLP) -> MLP:
    """The same network with a zero output layer: it starts as a correction of nothing."""
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    return network
