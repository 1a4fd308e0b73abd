"""Two-tower routes: trained on next items, served as an index of item vectors with an exported query tower."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.errors import DataError
from recsys.features.assemble import Assembler
from recsys.features.batch import Arrays, Codes, Field, Floats, InputSpec
from recsys.losses import retrieval
from recsys.losses.base import Objective
from recsys.recall.base import FitContext, TrainingData
from recsys.recall.settings.factors import ALSConfig
from recsys.recall.settings.two_tower import (
    BPRLoss,
    CosineContrastiveLoss,
    HingeLoss,
    LossConfig,
    RecurrentEncoder,
    SelfAttentionEncoder,
    SoftmaxLoss,
    TwoTowerConfig,
)
from recsys.recall.two_tower.batches import EventBatches, Requests, SequenceBatches, UserBatches
from recsys.recall.two_tower.negatives import NegativeSampler
from recsys.recall.two_tower.towers import TwoTower
from recsys.recall.vectors import served
from recsys.retrieval.base import Retriever
from recsys.retrieval.encoders import OnnxQueryEncoder
from recsys.training.batches import as_tensors
from recsys.training.trainer import seeded, train

__all__ = ["fit"]

_ITEMS = 4096
"""Items encoded together."""


def fit(config: TwoTowerConfig, data: TrainingData, context: FitContext) -> Retriever:
    """Trains the towers, and serves them as an index with an exported query encoder.

    Takes memory for (rows of all embedding tables) · D numbers, three times over while training, and for the scores of
    a batch, (requests) · (columns).

    Args:
        config: the route's settings.
        data: events.
        context: seed, scratch folder, where curves go.

    Raises:
        DataError: no event has enough history before it, or there is no item field.
        TrainingError: training diverged.
        ParityError: the exported query encoder differs from the trained one.
    """
    return fit_towers(TwoTower, config, data, context)


def fit_towers(kind: type[TwoTower], config: TwoTowerConfig, data: TrainingData, context: FitContext) -> Retriever:
    """As `fit`, for towers of a kind."""
    name = getattr(config, "kind")  # noqa: B009  every subclass has it
    user = _selected(data.user_fields, config.user_fields, leave_out="user.user_id")
    item = _selected(data.item_fields, config.item_fields)
    if not item:
        raise DataError(f"{name}: found no item field; name at least item_id in features.item")
    with seeded(context.seed):
        model = kind(user, item, config)
    if config.warm_start is not None:
        _start_from_factors(model, config.warm_start, data, context.seed)
    assembler = Assembler(data.item_features, InputSpec((*model.spec.fields, *item), config.history_length))
    if not (data.histories.counts > config.min_history).any():
        raise DataError(
            f"{name}: no user has more than min_history = {config.min_history} events in the training window; "
            "lower it, or use itemcf"
        )
    batches = _batches(config, model, data, assembler)
    train(
        model,
        _loss(config.loss),
        batches,
        config.training,
        seed=context.seed,
        log=context.log,
        say=context.say,
        checkpoints=context.unfinished,
    )
    model.eval()
    path = context.folder / "encoder.onnx"
    context.export(model.query, model.spec, path)
    encoder = OnnxQueryEncoder(path, model.spec, data.item_features)
    vectors = _item_vectors(model, assembler, data.n_items)
    # A factorisation that training starts from has learned from every event.
    learned = slice(None) if config.warm_start is not None else batches.targets()
    vectors[~known_items(item, data.item_features, data.histories.items[learned])] = 0
    return served(vectors, encoder, config.index, data, context)


def known_items(fields: Sequence[Field], item_features: Arrays, positives: Codes) -> NDArray[np.bool_]:
    """`(N,)` which items the item tower knows: by a number, or by a value that some positive has, too.

    An id without a row of its own is no such value: the out-of-vocabulary row says the same of all that share it.

    Args:
        fields: that the item tower reads, at least one.
        item_features: encoded, by item code.
        positives: codes of the items it has been trained to find.
    """
    return np.asarray(np.any([_tells(field, item_features[field.name], positives) for field in fields], axis=0))


def _tells(field: Field, values: NDArray[np.generic], positives: Codes) -> NDArray[np.bool_]:
    """`(N,)` of which items a field says something that was trained."""
    if not field.is_index:
        return field.is_known(values)
    rows = np.asarray(values, dtype=np.int64)
    trained = np.zeros(field.rows, dtype=bool)
    trained[rows[positives]] = True
    return field.is_known(np.where(trained[rows], rows, 0))


def _start_from_factors(model: TwoTower, config: ALSConfig, data: TrainingData, seed: int) -> None:
    """Item ids begin as factors y, and in the history as (1 + alpha_i) (YᵀY + reg·I)⁻¹ y: the fold-in of one event."""
    # Matrix factorisation has its own library, which no other start needs.
    from recsys.recall.als import as_candidates, factorise

    factors, alpha = factorise(config, data, seed)
    wide = factors.astype(np.float64)
    gram = wide.T @ wide + config.regularisation * np.eye(wide.shape[1])
    extra = alpha * max(float(np.median(data.histories.counts)), 1.0) ** -config.user_penalty
    past = np.linalg.solve(gram, wide.T).T * (1 + extra)[:, None]
    rows = np.asarray(data.item_features["item.item_id"], dtype=np.int64)
    model.start_from(_of_length_one(as_candidates(config, data, factors)), _of_length_one(past), rows)


def _of_length_one(vectors: NDArray[np.floating]) -> Floats:
    """Scaled together so that their mean length is 1."""
    scaled: Floats = (vectors / np.linalg.norm(vectors, axis=1).mean()).astype(np.float32)
    return scaled


def _batches(
    config: TwoTowerConfig, model: TwoTower, data: TrainingData, assembler: Assembler
) -> EventBatches | UserBatches | SequenceBatches:
    used = {field.name for field in model.spec.side("user")}
    features = {name: values for name, values in data.user_features.items() if name in used}
    sampler = NegativeSampler(
        config.negatives, data.histories, data.n_items, corrected=isinstance(config.loss, SoftmaxLoss)
    )
    requests = Requests(data.histories, features, assembler, sampler, data.n_items)
    if config.negatives.hard:
        miner = HardNegatives(model, assembler, data, config)
        requests = replace(requests, mine=miner.mine)
    whole = config.negatives.kind == "all"
    size = config.training.batch_size
    if isinstance(config.encoder, RecurrentEncoder | SelfAttentionEncoder):
        return SequenceBatches(requests, size, whole)
    if config.requests == "user":
        return UserBatches(requests, size, config.min_history)
    return EventBatches(requests, size, config.min_history, config.user_penalty, data.ordered, whole)


class HardNegatives:
    """What the towers wrongly find by now, by exact search over item vectors that are refreshed once an epoch.

    Args:
        model: the towers in training.
        assembler: of the items' inputs.
        data: what users have, which is never a negative.
        config: how many, and how deep to look.
    """

    def __init__(self, model: TwoTower, assembler: Assembler, data: TrainingData, config: TwoTowerConfig) -> None:
        self._model = model
        self._assembler = assembler
        self._data = data
        self._config = config
        self._refresh_every = max(len(data.histories.items) // config.training.batch_size, 1)
        self._calls = 0
        self._vectors: Floats = np.empty((0, 0), dtype=np.float32)

    @torch.no_grad()
    def mine(self, query: Arrays, users: Codes, rng: np.random.Generator) -> Codes:
        """`(P, hard)` items drawn from the first `hard_depth` found that the user does not have; −1 pads."""
        self._model.eval()
        if self._calls % self._refresh_every == 0:
            self._vectors = _item_vectors(self._model, self._assembler, self._data.n_items)
        self._calls += 1
        scores = self._model.query(as_tensors(query)).numpy() @ self._vectors.T
        self._model.train()
        history, _ = self._data.histories.batch(users)
        rows, steps = np.nonzero(history >= 0)
        scores[rows, history[rows, steps]] = -np.inf
        depth = min(self._config.negatives.hard_depth, scores.shape[1])
        found = np.argpartition(scores, scores.shape[1] - depth, axis=1)[:, -depth:]
        drawn = rng.integers(0, depth, (len(users), self._config.negatives.hard))
        codes = np.take_along_axis(found, drawn, axis=1)
        wrong: Codes = np.where(np.take_along_axis(scores, codes, axis=1) > -np.inf, codes, -1).astype(np.int32)
        return wrong


def _loss(config: LossConfig) -> Objective:
    match config:
        case SoftmaxLoss():
            return partial(retrieval.softmax, label_smoothing=config.label_smoothing)
        case BPRLoss():
            return retrieval.bpr
        case HingeLoss():
            return partial(retrieval.hinge, margin=config.margin)
        case CosineContrastiveLoss():
            return partial(retrieval.cosine_contrastive, margin=config.margin, negative_weight=config.negative_weight)


def _selected(fields: Sequence[Field], names: Sequence[str] | None, leave_out: str = "") -> tuple[Field, ...]:
    """The named fields, or all but one."""
    if names is None:
        return tuple(field for field in fields if field.name != leave_out)
    return tuple(field for field in fields if field.name.partition(".")[2] in names)


@torch.no_grad()
def _item_vectors(model: TwoTower, assembler: Assembler, n_items: int) -> Floats:
    parts = []
    for start in range(0, n_items, _ITEMS):
        codes = np.arange(start, min(start + _ITEMS, n_items), dtype=np.int32)
        parts.append(model.items(as_tensors(assembler.item_inputs(codes))).numpy())
    return np.concatenate(parts)
