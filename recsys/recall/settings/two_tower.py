"""Settings of the trained two-tower routes: one set of options, and a kind for each well-known combination of them."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from recsys.data.config import TableSide
from recsys.problems import Problem, unknown
from recsys.recall.settings.base import HistoryFacts, LogFacts, VectorRouteSettings
from recsys.recall.settings.factors import ALSConfig
from recsys.settings import Settings
from recsys.training.config import OptimiserConfig, TrainingConfig

__all__ = [
    "AttentionEncoder",
    "BPRLoss",
    "CosineContrastiveLoss",
    "DSSMConfig",
    "DecayEncoder",
    "EncoderConfig",
    "FMConfig",
    "GRU4RecConfig",
    "HingeLoss",
    "LossConfig",
    "MeanEncoder",
    "NegativesConfig",
    "RecurrentEncoder",
    "SASRecConfig",
    "SelfAttentionEncoder",
    "SimpleXConfig",
    "SoftmaxLoss",
    "TwoTowerConfig",
    "YouTubeDNNConfig",
]

Rate = Annotated[float, Field(ge=0, lt=1)]


class DecayEncoder(Settings):
    """Two exponentially decayed means of the history, of short and long memory, with learned decays."""

    kind: Literal["decay"]


class MeanEncoder(Settings):
    """The mean of the history (Covington 2016)."""

    kind: Literal["mean"]
    power: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The sum is divided by its length to this power: 1 is the mean, 0 the sum."""


class AttentionEncoder(Settings):
    """A mean whose weights a learned query gives (Bahdanau 2015; Mao 2021, section 3.2)."""

    kind: Literal["attention"]


class RecurrentEncoder(Settings):
    """A recurrent network over the history (Hidasi 2016, GRU4Rec)."""

    kind: Literal["gru", "lstm"]
    """The cell."""
    layers: PositiveInt = 1
    """Layers on top of one another."""


class SelfAttentionEncoder(Settings):
    """A causal transformer over the history (Kang 2018, SASRec)."""

    kind: Literal["self_attention"]
    blocks: PositiveInt = 2
    """Attention and feed-forward layers on top of one another."""
    heads: PositiveInt = 2
    """Of each attention; they share the vector out among them."""
    feed_forward: PositiveInt = 4
    """Width of the layer within each block, as a multiple of `embedding_dim`."""
    norm: Literal["pre", "post"] = "pre"
    """Whether layers are normalised before (trains more steadily) or after they are added."""
    positions: Literal["learned", "sinusoidal", "relative"] = "learned"
    """How a position is told: a vector each, sines, or a learned bias for each distance."""


EncoderConfig = Annotated[
    DecayEncoder | MeanEncoder | AttentionEncoder | RecurrentEncoder | SelfAttentionEncoder,
    Field(discriminator="kind"),
]


class SoftmaxLoss(Settings):
    """Cross-entropy of the positive among the negatives: in-batch and sampled softmax, InfoNCE (van den Oord 2018)."""

    kind: Literal["softmax"]
    label_smoothing: Rate = 0.0
    """Share of the target that is spread over all items."""


class BPRLoss(Settings):
    """−ln σ(positive − negative), the mean over the negatives (Rendle 2009)."""

    kind: Literal["bpr"]


class HingeLoss(Settings):
    """max(0, margin + negative − positive), the mean over the negatives: the triplet loss for cosines."""

    kind: Literal["hinge"]
    margin: PositiveFloat = 0.3
    """How much better the positive has to be, in units of score."""


class CosineContrastiveLoss(Settings):
    """1 − positive + negative_weight · mean of max(0, negative − margin), for cosines (Mao 2021, SimpleX)."""

    kind: Literal["cosine_contrastive"]
    margin: Annotated[float, Field(ge=-1, le=1)] = 0.4
    """Negatives below it do not count."""
    negative_weight: PositiveFloat = 150.0
    """Of the negatives beside the positive."""


LossConfig = Annotated[SoftmaxLoss | BPRLoss | HingeLoss | CosineContrastiveLoss, Field(discriminator="kind")]


class NegativesConfig(Settings):
    """What a positive is set against; all requests of a batch share their negatives."""

    kind: Literal["in_batch", "sampled", "mixed", "all"] = "in_batch"
    """The other requests' positives (Yi 2019), items drawn for the batch, both (Yang 2020), or the whole catalogue."""
    count: PositiveInt = 1024
    """Items drawn for a batch by `sampled` and `mixed`."""
    power: NonNegativeFloat = 0.0
    """Items are drawn in proportion to count^power: 0 uniformly, 1 as they occur."""
    hard: NonNegativeInt = 0
    """Further negatives for each request, drawn from the first `hard_depth` items the towers find by now."""
    hard_depth: PositiveInt = 100
    """How deep hard negatives are looked for."""
    correction: bool = True
    """With the softmax loss: takes back that some items are drawn more often than others, by the logarithm of their
    share (Yi 2019)."""
    mask_seen: bool = False
    """Whether items the user has anywhere in the window are no negatives; the positive itself never is."""


class TwoTowerOptimiser(OptimiserConfig):
    """Defaults of a two-tower."""

    learning_rate: PositiveFloat = 5e-3
    """Of the first step; see `schedule`."""


class TwoTowerTraining(TrainingConfig):
    """Defaults of a two-tower: large batches, as the other requests' items are the negatives."""

    epochs: PositiveInt = 6
    """Passes over the events."""
    batch_size: PositiveInt = 1024
    """Requests a step; of a route that learns from whole sequences (`gru`, `lstm`, `self_attention`), sequences."""
    patience: NonNegativeInt = 0
    """Epochs without a better validation figure before training stops; routes have none."""
    optimiser: TwoTowerOptimiser = TwoTowerOptimiser()
    """How weights are updated."""


class TwoTowerConfig(VectorRouteSettings):
    """A query tower over user features and history, an item tower over item fields, and how they learn."""

    embedding_dim: PositiveInt = 64
    """Length of the vectors of queries and items."""
    encoder: EncoderConfig = DecayEncoder(kind="decay")
    """What makes one vector of the history. Default where `data.order` is `none`: `mean`."""
    hidden: tuple[PositiveInt, ...] = ()
    """Layers that correct what the encoder and the user's features give."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """How query and item are compared."""
    temperature: PositiveFloat = 0.1
    """Divides scores: the smaller, the more the hardest negatives count."""
    learn_temperature: bool = False
    """Whether the temperature is only where training begins."""
    item_bias: bool = False
    """Whether every item has a number that is added to its scores."""
    shared_items: bool = False
    """Whether an item has the same vector in the history and as a candidate."""
    dropout: Rate = 0.2
    """On vectors of the history; half of it on hidden layers."""
    item_dropout: Rate = 0.0
    """On vectors of candidates."""
    loss: LossConfig = SoftmaxLoss(kind="softmax")
    """What training minimises."""
    negatives: NegativesConfig = NegativesConfig()
    """What positives are set against."""
    requests: Literal["event", "user"] = "event"
    """What asks in training: every event, for its item, or every user once an epoch, with a random half of the items
    for the other half (Liang 2018): far fewer requests, for logs without order and the whole catalogue as negatives."""
    history_length: PositiveInt = 50
    """The most recent items the query tower reads; without order, as many drawn from all."""
    min_history: NonNegativeInt = 1
    """Events with fewer before them are no training positives."""
    warm_start: ALSConfig | None = None
    """Matrix factorisation whose item factors the vectors of item ids begin with: training then has only to improve on
    it. Meant for `mean` and `dot`, where the towers begin as good as the factorisation."""
    user_penalty: NonNegativeFloat = 0.0
    """Events are drawn in proportion to 1 / (the user's events)^this: 1 gives every user the same say."""
    user_fields: tuple[str, ...] | None = None
    """`null`: every user field except `user_id`."""
    item_fields: tuple[str, ...] | None = None
    """`null`: every item field."""
    training: TwoTowerTraining = TwoTowerTraining()
    """How the towers learn."""

    def log_defaults(self, log: LogFacts) -> dict[str, object]:
        """See `RouteSettings`; where there is no order, a mean does for two means of short and long memory."""
        other = {} if log.ordered or self.encoder.kind != "decay" else {"encoder": MeanEncoder(kind="mean")}
        return {**super().log_defaults(log), **other}

    def order_reason(self) -> str:
        """See `RouteSettings`: means and attention pooling do without order."""
        return "" if self.encoder.kind in ("mean", "attention") else "it learns the next item from those before"

    def stopping(self, facts: HistoryFacts) -> Iterator[Problem]:
        """See `RouteSettings`; a training positive has at least `min_history` events before it."""
        if facts.most_events > self.min_history:
            return
        kind = getattr(self, "kind")  # noqa: B009  every subclass has it
        default = "" if "min_history" in self.model_fields_set else f", the default of {kind}"
        yield Problem(
            f"found {self.min_history}{default}, but no user has more than {facts.most_events:,} events in the recall "
            "window, so there is no training positive; lower it, leave the window more events by another split, or use "
            "popular",
            at=("min_history",),
        )

    def _order_problems(self) -> Iterator[Problem]:
        if not self.order_reason() or "encoder" not in self.model_fields_set:
            yield from super()._order_problems()
            return
        found = f"found {self.encoder.kind}, but data.order is none: it reads the history in order; expected mean or "
        yield Problem(f"{found}attention", at=("encoder", "kind"), protocol=True)

    def problems(self, log: LogFacts) -> Iterator[Problem]:
        """See `RouteSettings`; also fields that no side has, and options that do not go together."""
        yield from super().problems(log)
        yield from self._field_problems(log)
        encoder = self.encoder
        if isinstance(encoder, SelfAttentionEncoder) and self.embedding_dim % encoder.heads:
            found = f"found {encoder.heads}, expected a divisor of embedding_dim = {self.embedding_dim}"
            yield Problem(found, at=("encoder", "heads"))
        if self.warm_start is not None:
            yield from self._cannot_start(self.warm_start, log)
        if self.requests == "user" and (self.loss.kind, self.negatives.kind) != ("softmax", "all"):
            found = "found user, expected event: only the softmax loss with negatives of kind all has several positives"
            yield Problem(found, at=("requests",))
        if self.requests == "user" and self.encoder.kind not in ("mean", "attention"):
            found = (
                f"found user, expected event: the encoder {self.encoder.kind} reads an order that halves do not have"
            )
            yield Problem(found, at=("requests",))
        if self.loss.kind == "cosine_contrastive" and self.similarity != "cosine":
            found = f"found {self.similarity}, expected cosine: loss.kind is cosine_contrastive, whose margin is one"
            yield Problem(found, at=("similarity",))
        if self.negatives.kind == "all" and self.negatives.hard:
            found = f"found {self.negatives.hard}, expected 0: negatives.kind is all, so every item is a negative"
            yield Problem(found, at=("negatives", "hard"))

    def _field_problems(self, log: LogFacts) -> Iterator[Problem]:
        if not log.inputs["item"]:
            kind = getattr(self, "kind")  # noqa: B009  every subclass has it
            yield Problem(f"found {kind}, but features.item is empty; name at least item_id there", at=("kind",))
        named: dict[TableSide, tuple[str, ...] | None] = {"user": self.user_fields, "item": self.item_fields}
        for side, fields in named.items():
            known = log.inputs[side]
            for position, field in enumerate(fields or ()):
                if field not in known:
                    at = (f"{side}_fields", position)
                    yield Problem(unknown(field, known, noun=f"field of features.{side}"), at=at)

    def _cannot_start(self, start: ALSConfig, log: LogFacts) -> Iterator[Problem]:
        if start.embedding_dim != self.embedding_dim:
            found = f"found {start.embedding_dim}, expected {self.embedding_dim} as of the towers"
            yield Problem(found, at=("warm_start", "embedding_dim"))
        if "item_id" not in (log.inputs["item"] if self.item_fields is None else self.item_fields):
            found = (
                "found item fields without item_id, which is what gets the factors; name it, or set warm_start: null"
            )
            yield Problem(found, at=("warm_start",))
        if self.shared_items:
            found = "found true, expected false: past items and candidates begin with vectors of their own"
            yield Problem(found, at=("shared_items",))


class DSSMConfig(TwoTowerConfig):
    """Two towers with the batch's other items as negatives (Huang 2013; Yi 2019)."""

    kind: Literal["dssm"]
    hidden: tuple[PositiveInt, ...] = (128,)
    """Layers that correct what the encoder and the user's features give."""
    dropout: Rate = 0.4
    """On vectors of the history; half of it on hidden layers."""
    item_dropout: Rate = 0.4
    """On vectors of candidates."""
    temperature: PositiveFloat = 0.07
    """Divides scores: the smaller, the more the hardest negatives count."""
    history_length: PositiveInt = 20
    """The most recent items the query tower reads."""
    min_history: NonNegativeInt = 3
    """Events with fewer before them are no training positives."""


class YouTubeDNNConfig(TwoTowerConfig):
    """The mean of the history and the user's features through layers, with sampled softmax (Covington 2016)."""

    kind: Literal["youtube_dnn"]
    encoder: EncoderConfig = MeanEncoder(kind="mean")
    """What makes one vector of the history."""
    hidden: tuple[PositiveInt, ...] = (128,)
    """Layers that correct what the encoder and the user's features give."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """How query and item are compared."""
    negatives: NegativesConfig = NegativesConfig(kind="sampled")
    """What positives are set against."""


class SimpleXConfig(TwoTowerConfig):
    """The history's items pooled, with the cosine contrastive loss and many negatives (Mao 2021)."""

    kind: Literal["simplex"]
    encoder: EncoderConfig = MeanEncoder(kind="mean")
    """What makes one vector of the history."""
    loss: LossConfig = CosineContrastiveLoss(kind="cosine_contrastive")
    """What training minimises."""
    temperature: PositiveFloat = 1.0
    """Divides scores; the margin is one of cosines."""
    negatives: NegativesConfig = NegativesConfig(kind="sampled")
    """What positives are set against."""
    shared_items: bool = True
    """Whether an item has the same vector in the history and as a candidate."""


class _SequenceTraining(TwoTowerTraining):
    """Defaults of a route that learns from whole sequences."""

    epochs: PositiveInt = 25
    """Passes over the events."""
    batch_size: PositiveInt = 128
    """Sequences a step, of similar length."""
    optimiser: TwoTowerOptimiser = TwoTowerOptimiser(learning_rate=2e-3, weight_decay=0.01)
    """How weights are updated."""


class _SequenceConfig(TwoTowerConfig):
    """Defaults of routes that learn from whole sequences."""

    similarity: Literal["cosine", "dot"] = "dot"
    """How query and item are compared."""
    temperature: PositiveFloat = 1.0
    """Divides scores: the smaller, the more the hardest negatives count."""
    shared_items: bool = True
    """Whether an item has the same vector in the history and as a candidate."""
    dropout: Rate = 0.3
    """On vectors of the history; half of it on hidden layers."""
    loss: LossConfig = SoftmaxLoss(kind="softmax", label_smoothing=0.1)
    """What training minimises."""
    negatives: NegativesConfig = NegativesConfig(kind="all")
    """What positives are set against."""
    training: _SequenceTraining = _SequenceTraining()
    """How the towers learn."""


class SASRecConfig(_SequenceConfig):
    """Self-attention over the history (Kang 2018), with the cross-entropy of the whole catalogue."""

    kind: Literal["sasrec"]
    encoder: EncoderConfig = SelfAttentionEncoder(kind="self_attention")
    """What makes one vector of the history."""


class GRU4RecConfig(_SequenceConfig):
    """A recurrent network over the history (Hidasi 2016), with the cross-entropy of the whole catalogue."""

    kind: Literal["gru4rec"]
    encoder: EncoderConfig = RecurrentEncoder(kind="gru")
    """What makes one vector of the history."""


class FMConfig(TwoTowerConfig):
    """A factorisation machine (Rendle 2010) whose user and item sides serve as vectors."""

    kind: Literal["fm"]
    encoder: EncoderConfig = MeanEncoder(kind="mean")
    """What makes one vector of the history."""
    similarity: Literal["cosine", "dot"] = "dot"
    """How query and item are compared."""
    temperature: PositiveFloat = 1.0
    """Divides scores: the smaller, the more the hardest negatives count."""
    item_bias: bool = True
    """Whether every item has a number that is added to its scores: its linear weights and the products within it."""
