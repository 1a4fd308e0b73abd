"""`ranking`: the ranker, trained on the rank window, stopped by the valid window, exported behind the parity gate."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.candidates import GroupedRequests
from pipelines.inputs import Features, Log, request_queries
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.features.assemble import Assembler
from recsys.features.batch import InputSpec
from recsys.features.history import Requests
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.route_features import route_fields
from recsys.metrics.classification import auc
from recsys.metrics.ranking import ndcg_at_k
from recsys.ranking.configs import RankingConfig
from recsys.ranking.registry import ranker_modules
from recsys.ranking.settings.samples import SYNTHETIC
from recsys.ranking.settings.trees import TreeSettings
from recsys.scoring.calibration import Calibration
from recsys.scoring.calibration_fit import fit_calibration
from recsys.scoring.onnx import OnnxScorer
from recsys.scoring.registry import save_scorer
from recsys.scoring.thresholds import best_threshold

if TYPE_CHECKING:
    from recsys.losses.base import Objective
    from recsys.ranking.base import Ranker
    from recsys.training.batches import Samples
    from recsys.training.trainer import TrainResult, Validation

__all__ = ["CALIBRATION", "model_inputs", "stage"]

CALIBRATION = "calibration.json"
"""What scores say of probabilities, in this stage's output, where that is asked for."""

Scores = NDArray[np.float32]
Figures = Callable[[Scores], dict[str, float]]
_Parts: TypeAlias = "tuple[Samples, Samples, Samples | None]"
"""What fits, what validates, and both when the ranker is fitted on them in the end."""


def stage(config: Config) -> Stage:
    """The stage."""
    assert config.ranking is not None
    return Stage(
        "ranking",
        partial(_run, config, config.ranking),
        config={"ranking": config.ranking, "refit": config.refit, "features": {"history": config.features.history}},
        inputs=("ingest", "split", "features", "candidates"),
        modules=(
            "pipelines.ranking",
            "recsys.release.export",
            "recsys.training.mining",
            "recsys.training.oversampling",
            "recsys.training.trainer",
            *ranker_modules(config.ranking.model),
        ),
        seed=config.seed,
    )


def model_inputs(config: Config, features: Features) -> InputSpec:
    """Every input a ranker of this configuration may read."""
    assert config.ranking is not None
    encoder = features.encoder
    # Labelled rows of the log come without candidates: nothing any route could have said of them is known.
    by_candidate = config.ranking.samples.kind == "candidates"
    route = route_fields(config.routes, MatchFeatures(features.item)) if by_candidate else ()
    request = (*encoder.fields("user"), *encoder.fields("context"), *encoder.history_fields())
    return InputSpec((*request, *encoder.fields("item"), *route), config.features.history.length)


def _run(config: Config, ranking: RankingConfig, context: StageContext) -> Metrics:
    # Torch takes seconds to import: only a run that trains pays for it.
    from recsys.ranking.base import select_inputs
    from recsys.training.batches import joined

    features = Features.load(context.inputs["features"])
    spec = select_inputs(model_inputs(config, features), ranking.model)
    fitting, _ = _samples(config, ranking, context, features, spec, "train")
    fitting = _with_synthetic(ranking, fitting, context.seed)
    validation, requests = _samples(config, ranking, context, features, spec, "valid")
    judge = _judge(ranking)
    again = joined(fitting, validation) if config.refit == "all" else None

    def figures(scores: Scores) -> dict[str, float]:
        return judge(scores, validation, requests)

    path = context.scratch / "model.onnx"
    if isinstance(ranking.model, TreeSettings):
        metrics, scores = _grown(ranking, ranking.model, spec, (fitting, validation, again), context, figures, path)
    else:
        metrics, scores = _trained(ranking, spec, (fitting, validation, again), context, figures, path)
    save_scorer(OnnxScorer(path), context.folder / "scorer")
    _write_json(context.folder / "inputs.json", asdict(spec))
    calibration = _calibrated(ranking, scores, validation)
    if calibration is not None:
        _write_json(context.folder / CALIBRATION, calibration.to_json())
    return {f"valid/{judge.name}" if name == "best" else name: value for name, value in metrics.items()}


def _with_synthetic(ranking: RankingConfig, samples: "Samples", seed: int) -> "Samples":
    """With the positives that are made up, if any are to be."""
    from recsys.training.oversampling import synthetic_positives

    settings = ranking.samples
    if settings.negatives_per_positive is None or settings.imbalance not in SYNTHETIC:
        return samples
    kind: Literal["smote", "adasyn"] = "smote" if settings.imbalance == "smote" else "adasyn"
    return synthetic_positives(samples, kind, settings.negatives_per_positive, seed=seed)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _calibrated(ranking: RankingConfig, scores: Scores, validation: "Samples") -> Calibration | None:
    """What validation scores say of probabilities, task by task, and from where on they are a yes."""
    if ranking.calibration == "none" and ranking.threshold == "none":
        return None
    real = validation.mask
    several = zip(*(np.moveaxis(np.atleast_3d(v), 2, 0) for v in (scores, validation.labels)), strict=True)
    rows = [(own[real], labels[real]) for own, labels in several]
    maps = tuple(fit_calibration(ranking.calibration, *row) for row in rows)
    if ranking.threshold == "none":
        return Calibration(maps)
    chances = Calibration(maps).probabilities(np.stack([own for own, _ in rows], axis=-1))
    found = (best_threshold(ranking.threshold, rows[task][1], chances[:, task]) for task in range(len(rows)))
    return Calibration(maps, tuple(found))


def _trained(
    ranking: RankingConfig, spec: InputSpec, parts: _Parts, context: StageContext, figures: Figures, path: Path
) -> tuple[Metrics, Scores]:
    """Trains a network and writes its graph; gives its figures, and its scores of what validates."""
    from recsys.release.export import export_onnx
    from recsys.training.trainer import predict

    fitting, validation, both = parts
    model, result = _fitted(
        ranking, spec, fitting, context, context.log, lambda model: figures(predict(model, validation))
    )
    scores = predict(model, validation)
    if both is not None:
        # The best number of epochs is settled: the valid window may teach, too.
        settled = ranking.training.model_copy(update={"epochs": result.best_epoch})
        again = ranking.model_copy(update={"training": settled})
        model, _ = _fitted(again, spec, both, context, lambda what, *at: context.log(f"refit/{what}", *at), None)
    export_onnx(model, spec.fields, spec.history_length, path, output="logits")
    return {"best": result.best, "best_epoch": result.best_epoch, "epochs": result.epochs}, scores


def _grown(
    ranking: RankingConfig,
    model: TreeSettings,
    spec: InputSpec,
    parts: _Parts,
    context: StageContext,
    figures: Figures,
    path: Path,
) -> tuple[Metrics, Scores]:
    """Grows trees and writes their graph; gives its figures, and its scores of what validates."""
    from recsys.ranking.trees.fit import fit_trees

    def judge(scores: Scores, trees: int) -> float:
        found = figures(scores)
        for name, value in found.items():
            context.log(f"valid/{name}", value, trees)
        return next(iter(found.values()))

    fitting, validation, both = parts
    grow = partial(fit_trees, seed=context.seed, threads=ranking.training.threads)
    grown = grow(model, spec, fitting, validation=validation, judge=judge)
    scores = grown.scores(validation)
    best = next(iter(figures(scores).values()))
    if both is not None:
        # The best number of trees is settled: the valid window may teach, too.
        grown = grow(model.model_copy(update={"trees": grown.trees}), spec, both)
    path.write_bytes(grown.graph)
    return {"best": best, "trees": grown.trees}, scores


def _fitted(
    ranking: RankingConfig,
    spec: InputSpec,
    samples: "Samples",
    context: StageContext,
    log: Callable[[str, float, int], None],
    validate: "Validation | None",
) -> "tuple[Ranker, TrainResult]":
    """A freshly drawn ranker, trained."""
    from recsys.ranking.registry import build_ranker
    from recsys.training.mining import HardNegatives
    from recsys.training.trainer import seeded, train

    with seeded(context.seed):
        model = build_ranker(ranking.model, spec, max(len(ranking.tasks), 1))
    model.fit_inputs(samples)
    loss = _objective(ranking, model)
    stand = None if context.unfinished is None else context.unfinished / ("refit" if validate is None else "fit")
    hard = ranking.samples.hard_negatives
    source = HardNegatives(samples, model, hard) if hard else samples
    run = partial(train, model, loss, source, ranking.training, seed=context.seed, log=log)
    return model, run(validate=validate, checkpoints=stand)


def _objective(ranking: RankingConfig, model: "Ranker") -> "Objective":
    """What training minimises."""
    from recsys.losses.registry import build_loss
    from recsys.losses.tasks import TaskLosses
    from recsys.ranking.tasks import MultiTaskRanker

    if not isinstance(model, MultiTaskRanker):
        return build_loss(ranking.loss)
    tasks = ranking.tasks.values()
    losses = [build_loss(task.loss or ranking.loss) for task in tasks]
    return TaskLosses(losses, [task.weight for task in tasks], ranking.balance, shared=model.shared_weights)


def _samples(
    config: Config, ranking: RankingConfig, context: StageContext, features: Features, spec: InputSpec, part: str
) -> "tuple[Samples, Requests]":
    from recsys.training.batches import Samples

    grouped = GroupedRequests.load(context.inputs["candidates"] / part)
    histories = Log.load(context.inputs["split"]).histories(config)
    queries = request_queries(
        grouped.requests, histories=histories, features=features, ingested=context.inputs["ingest"]
    )
    codes, labels = grouped.groups.codes, grouped.labels
    inputs = Assembler(features.item, spec).inputs(queries, codes, grouped.route)
    size, pool = ranking.training.batch_size, ranking.samples.length_pool
    unmined = grouped.groups.from_catalogue
    samples = Samples(inputs, labels, codes >= 0, size, grouped.weight, pool, grouped.offset, unmined)
    return samples, grouped.requests


@dataclass(frozen=True, slots=True)
class _Judge:
    """What early stopping goes by, and what else is told of every epoch.

    AUC of labelled rows, NDCG of lists. Of several tasks: its mean over tasks, and the AUC of each.
    """

    rows: bool
    tasks: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the figure that training goes by."""
        return "auc" if self.rows else "ndcg@10"

    def __call__(self, scores: Scores, samples: "Samples", requests: Requests) -> dict[str, float]:
        """Figures by name, that one first."""
        mask = samples.mask
        if not self.tasks:
            if self.rows:
                return {self.name: auc(samples.labels[mask], scores[mask])}
            return {self.name: _list_quality(scores, samples.labels, mask, requests.counts)}
        columns = {name: (scores[..., task], samples.labels[..., task]) for task, name in enumerate(self.tasks)}
        areas = {f"auc/{name}": auc(labels[mask], own[mask]) for name, (own, labels) in columns.items()}
        if self.rows:
            return {self.name: float(np.mean(list(areas.values()))), **areas}
        quality = [_task_quality(own, labels, mask) for own, labels in columns.values()]
        return {self.name: float(np.mean(quality)), **areas}


def _judge(ranking: RankingConfig) -> _Judge:
    return _Judge(ranking.samples.kind == "events", tuple(ranking.tasks))


def _list_quality(scores: Scores, labels: Scores, mask: NDArray[np.bool_], counts: NDArray[np.integer]) -> float:
    order = np.argsort(-np.where(mask, scores, -np.inf), axis=1, kind="stable")
    hits = np.take_along_axis(labels, order, axis=1) > 0
    return float(ndcg_at_k(hits, counts, 10).mean())


def _task_quality(scores: Scores, labels: Scores, mask: NDArray[np.bool_]) -> float:
    """Over the requests that have a positive of the task; NaN without any."""
    counts = (labels > 0).sum(axis=1)
    some = counts > 0
    return _list_quality(scores[some], labels[some], mask[some], counts[some]) if some.any() else math.nan
