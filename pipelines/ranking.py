"""`ranking`: the ranker, trained on the rank window, stopped by the valid window, exported behind the parity gate."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.inputs import Features
from pipelines.ranker_judge import judge_of
from pipelines.ranker_samples import (
    SampleParts,
    SamplesInMemory,
    Scores,
    Window,
    sample_parts,
    sample_windows,
    samples_in_memory,
)
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.features.batch import InputSpec
from recsys.features.rows import row_fields
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.route_features import route_fields
from recsys.ranking.configs import RankingConfig, TeacherConfig, scores_are_log_odds
from recsys.ranking.labels import check_labels
from recsys.ranking.registry import ranker_modules
from recsys.ranking.settings.trees import TreeSettings
from recsys.scoring.calibration import Calibration
from recsys.scoring.calibration_fit import fit_calibration
from recsys.scoring.onnx import OnnxScorer
from recsys.scoring.registry import save_scorer
from recsys.scoring.thresholds import best_threshold

if TYPE_CHECKING:
    from torch import nn

    from recsys.losses.base import Objective
    from recsys.ranking.base import Ranker
    from recsys.training.batches import BatchSource, SampleSource
    from recsys.training.trainer import TrainResult, Validation

__all__ = ["CALIBRATION", "model_inputs", "stage"]

CALIBRATION = "calibration.json"
"""What scores say of probabilities, in this stage's output, where that is asked for."""

Figures = Callable[[Scores], dict[str, float]]


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
            "recsys.training.stream",
            "recsys.training.trainer",
            *ranker_modules(config.ranking.model),
            *_teaching(config.ranking.teacher),
        ),
        seed=config.seed,
    )


def _teaching(teacher: TeacherConfig | None) -> tuple[str, ...]:
    """The modules that a teacher needs."""
    return () if teacher is None else ("recsys.ranking.distilled", *ranker_modules(teacher.model))


def model_inputs(config: Config, features: Features) -> InputSpec:
    """Every input a ranker of this configuration may read."""
    assert config.ranking is not None
    encoder = features.encoder
    if config.data.rows_only:
        return InputSpec(row_fields(encoder), config.features.history.length)
    # Labelled rows of the log come without candidates: nothing any route could have said of them is known.
    by_candidate = config.ranking.samples.kind == "candidates"
    route = route_fields(config.routes, MatchFeatures(features.item)) if by_candidate else ()
    request = (*encoder.fields("user"), *encoder.fields("context"), *encoder.history_fields())
    return InputSpec((*request, *encoder.fields("item"), *route), config.features.history.length)


def _run(config: Config, ranking: RankingConfig, context: StageContext) -> Metrics:
    # Torch takes seconds to import: only a run that trains pays for it.
    from recsys.ranking.base import select_inputs

    features = Features.load(context.inputs["features"])
    spec = select_inputs(model_inputs(config, features), ranking.model)
    windows = sample_windows(config, ranking, context, features, spec)
    check_labels(ranking, windows[0].labels, windows[0].mask)
    judge, again = judge_of(ranking), config.refit == "all"

    def figures(scores: Scores) -> dict[str, float]:
        return judge(scores, windows[1])

    path = context.scratch / "model.onnx"
    if isinstance(ranking.model, TreeSettings):
        held = samples_in_memory(ranking, windows, context.seed, again=again)
        metrics, scores = _grown(ranking, ranking.model, spec, held, context, figures, path)
    else:
        parts = sample_parts(ranking, windows, context, again=again)
        if ranking.teacher is not None:
            parts = _taught(config, ranking, ranking.teacher, context, features, parts, figures)
        metrics, scores = _trained(ranking, spec, parts, context, figures, path)
    save_scorer(OnnxScorer(path), context.folder / "scorer")
    _write_json(context.folder / "inputs.json", asdict(spec))
    calibration = _calibrated(ranking, scores, windows[1], rows_only=config.data.rows_only)
    if calibration is not None:
        _write_json(context.folder / CALIBRATION, calibration.to_json())
    named = {f"valid/{judge.name}" if name == "best" else name: value for name, value in metrics.items()}
    return {name: value for name, value in named.items() if not math.isnan(value)}


def _taught(
    config: Config,
    ranking: RankingConfig,
    teacher: TeacherConfig,
    context: StageContext,
    features: Features,
    parts: SampleParts,
    figures: Figures,
) -> SamplesInMemory:
    """The samples, with what a teacher says of them who was trained on those that fit."""
    from recsys.ranking.base import select_inputs
    from recsys.ranking.distilled import TEACHER
    from recsys.training.batches import Samples, joined
    from recsys.training.trainer import predict

    own = ranking.model_copy(update={"model": teacher.model, "teacher": None})
    spec = select_inputs(model_inputs(config, features), teacher.model)
    seen, unseen = (window.samples() for window in sample_windows(config, ranking, context, features, spec))
    model, _ = _fitted(own, spec, seen, context, "teacher", lambda model: figures(predict(model, unseen)))
    taught = []
    for part, read in ((parts[0], seen), (parts[1], unseen)):
        assert isinstance(part, Samples)
        taught.append(replace(part, inputs={**part.inputs, TEACHER: predict(model, read)}))
    fitting, validation = taught
    return fitting, validation, None if parts[2] is None else joined(fitting, validation)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _calibrated(ranking: RankingConfig, scores: Scores, validation: "Window", *, rows_only: bool) -> Calibration | None:
    """What validation scores say of probabilities, task by task, and from where on they are a yes.

    A pipeline that only scores rows serves σ(score) without a calibration, if its scores are log-odds.
    """
    if (
        ranking.calibration == "none"
        and ranking.threshold == "none"
        and not (rows_only and scores_are_log_odds(ranking))
    ):
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
    ranking: RankingConfig, spec: InputSpec, parts: SampleParts, context: StageContext, figures: Figures, path: Path
) -> tuple[Metrics, Scores]:
    """Trains a network and writes its graph; gives its figures, and its scores of what validates."""
    from recsys.release.export import export_onnx
    from recsys.training.trainer import predict

    fitting, validation, both = parts
    model, result = _fitted(ranking, spec, fitting, context, "fit", lambda model: figures(predict(model, validation)))
    scores = predict(model, validation)
    if both is not None:
        # The best number of epochs is settled: the valid window may teach, too.
        settled = ranking.training.model_copy(update={"epochs": result.best_epoch})
        again = ranking.model_copy(update={"training": settled})
        model, _ = _fitted(again, spec, both, context, "refit", None)
    export_onnx(model, spec.fields, spec.history_length, path, output="logits")
    return {"best": result.best, "best_epoch": result.best_epoch, "epochs": result.epochs}, scores


def _grown(
    ranking: RankingConfig,
    model: TreeSettings,
    spec: InputSpec,
    parts: SamplesInMemory,
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
    samples: "SampleSource",
    context: StageContext,
    name: str,
    validate: "Validation | None",
) -> "tuple[Ranker, TrainResult]":
    """A freshly drawn ranker, trained; `name` is that of its curves and checkpoints."""
    from recsys.ranking.registry import build_ranker
    from recsys.training.trainer import seeded, train

    with seeded(context.seed):
        model = build_ranker(ranking.model, spec, max(len(ranking.tasks), 1))
    model.fit_inputs(samples)
    result = train(
        _learner(ranking, model),
        _objective(ranking, model),
        _source(ranking, samples, model),
        ranking.training,
        seed=context.seed,
        log=lambda what, *at: context.log(what if name == "fit" else f"{name}/{what}", *at),
        say=context.say,
        validate=validate,
        checkpoints=None if context.unfinished is None else context.unfinished / name,
    )
    return model, result


def _source(ranking: RankingConfig, samples: "SampleSource", model: "Ranker") -> "BatchSource":
    """What is learned from: the samples, or of their negatives the hardest."""
    from recsys.training.batches import Samples
    from recsys.training.mining import HardNegatives

    if not ranking.samples.hard_negatives:
        return samples
    assert isinstance(samples, Samples)
    return HardNegatives(samples, model, ranking.samples.hard_negatives)


def _learner(ranking: RankingConfig, model: "Ranker") -> "nn.Module":
    """What is trained: the ranker, with its teacher if it has one."""
    from recsys.ranking.distilled import Distilled

    return model if ranking.teacher is None else Distilled(model, ranking.teacher)


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
