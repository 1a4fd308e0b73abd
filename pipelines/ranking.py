"""`ranking`: the ranker, trained on the rank window, stopped by the valid window, exported behind the parity gate."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.candidates import GroupedRequests
from pipelines.inputs import Features, Log, context_log, encoded_queries
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.errors import DataError
from recsys.features.assemble import Assembler
from recsys.features.batch import InputSpec
from recsys.features.history import Histories
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.route_features import route_fields
from recsys.metrics.classification import auc
from recsys.metrics.ranking import ndcg_at_k
from recsys.ranking.configs import RankingConfig, TeacherConfig
from recsys.ranking.labels import check_labels
from recsys.ranking.registry import ranker_modules
from recsys.ranking.settings.samples import SYNTHETIC
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
    from recsys.training.batches import BatchSource, Samples, SampleSource
    from recsys.training.group_files import GroupColumns
    from recsys.training.stream import Stream
    from recsys.training.trainer import TrainResult, Validation

__all__ = ["CALIBRATION", "model_inputs", "stage"]

CALIBRATION = "calibration.json"
"""What scores say of probabilities, in this stage's output, where that is asked for."""

Scores = NDArray[np.float32]
Figures = Callable[[Scores], dict[str, float]]
_Parts: TypeAlias = "tuple[SampleSource, SampleSource, SampleSource | None]"
"""What fits, what validates, and both when the ranker is fitted on them in the end."""
_InMemory: TypeAlias = "tuple[Samples, Samples, Samples | None]"
_GROUPS_A_BUFFER = 16
"""Groups of rows that a shuffle buffer holds: enough for batches that are well mixed."""

_NOTHING = {
    (
        "train",
        "events",
    ): "the recall and rank windows hold no labelled row to learn from; check data.interactions.exposed",
    ("valid", "events"): "the valid window holds no labelled row to stop training by; raise split.valid",
    (
        "train",
        "candidates",
    ): "no request of the rank window has a positive among its candidates, so there is nothing to "
    "learn from; raise split.rank or fusion.candidates, or add routes",
    ("valid", "candidates"): "no request of the valid window has a positive to stop training by; raise split.valid",
}
"""What to say where a part of the samples is empty."""


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
    windows = _windows(config, ranking, context, features, spec)
    check_labels(ranking, windows[0].labels, windows[0].mask)
    judge, again = _judge(ranking), config.refit == "all"

    def figures(scores: Scores) -> dict[str, float]:
        return judge(scores, windows[1])

    path = context.scratch / "model.onnx"
    if isinstance(ranking.model, TreeSettings):
        held = _in_memory(ranking, windows, context.seed, again=again)
        metrics, scores = _grown(ranking, ranking.model, spec, held, context, figures, path)
    else:
        parts = _parts(ranking, windows, context, again=again)
        if ranking.teacher is not None:
            parts = _taught(config, ranking, ranking.teacher, context, features, parts, figures)
        metrics, scores = _trained(ranking, spec, parts, context, figures, path)
    save_scorer(OnnxScorer(path), context.folder / "scorer")
    _write_json(context.folder / "inputs.json", asdict(spec))
    calibration = _calibrated(ranking, scores, windows[1])
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
    parts: _Parts,
    figures: Figures,
) -> _InMemory:
    """The samples, with what a teacher says of them who was trained on those that fit."""
    from recsys.ranking.base import select_inputs
    from recsys.ranking.distilled import TEACHER
    from recsys.training.batches import Samples, joined
    from recsys.training.trainer import predict

    own = ranking.model_copy(update={"model": teacher.model, "teacher": None})
    spec = select_inputs(model_inputs(config, features), teacher.model)
    seen, unseen = (window.samples() for window in _windows(config, ranking, context, features, spec))
    model, _ = _fitted(own, spec, seen, context, "teacher", lambda model: figures(predict(model, unseen)))
    taught = []
    for part, read in ((parts[0], seen), (parts[1], unseen)):
        assert isinstance(part, Samples)
        taught.append(replace(part, inputs={**part.inputs, TEACHER: predict(model, read)}))
    fitting, validation = taught
    return fitting, validation, None if parts[2] is None else joined(fitting, validation)


def _with_synthetic(ranking: RankingConfig, samples: "Samples", seed: int) -> "Samples":
    """With the positives that are made up, if any are to be."""
    from recsys.training.oversampling import synthetic_positives

    ratio = ranking.samples.negatives_per_positive
    if ratio is None or not _makes_up(ranking):
        return samples
    kind: Literal["smote", "adasyn"] = "smote" if ranking.samples.imbalance == "smote" else "adasyn"
    return synthetic_positives(samples, kind, ratio, seed=seed)


def _makes_up(ranking: RankingConfig) -> bool:
    return ranking.samples.negatives_per_positive is not None and ranking.samples.imbalance in SYNTHETIC


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _calibrated(ranking: RankingConfig, scores: Scores, validation: "_Window") -> Calibration | None:
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
    parts: _InMemory,
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


@dataclass(frozen=True, slots=True)
class _Window:
    """The groups of a window, encoded when they are asked for.

    Attributes:
        grouped: what the candidates stage made.
        labels: of it.
        histories: visible events.
        features: encoded users and items.
        context: the log, if there is context to encode.
        assembler: of the model's inputs.
        ranking: how groups are batched.
    """

    grouped: GroupedRequests
    labels: Scores
    histories: Histories
    features: Features
    context: pa.Table | None
    assembler: Assembler
    ranking: RankingConfig

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`(Q, C)` which candidates are real."""
        return self.grouped.groups.codes >= 0

    @property
    def columns(self) -> "GroupColumns":
        """Of a file of these groups."""
        from recsys.training.group_files import GroupColumns

        labels = tuple(f"label.{task}" for task in self.ranking.tasks) or ("label",)
        weight = None if self.grouped.weight is None else "weight"
        offset = None if self.grouped.offset is None else "offset"
        return GroupColumns(self.assembler.spec, labels, mask="mask", weight=weight, offset=offset)

    @property
    def row_bytes(self) -> int:
        """Of an encoded group."""
        return self.columns.row_bytes(self.labels.shape[1])

    def samples(self) -> "Samples":
        """All groups, encoded."""
        from recsys.training.batches import Samples

        return Samples(**self._encoded(slice(None)))

    def _encoded(self, rows: slice) -> dict[str, Any]:
        grouped, codes = self.grouped, self.grouped.groups.codes[rows]
        requests = grouped.requests.take(np.arange(len(grouped.requests))[rows])
        queries = encoded_queries(requests, self.histories, self.features, self.context)
        inputs = self.assembler.inputs(queries, codes, {name: values[rows] for name, values in grouped.route.items()})
        size, pool = self.ranking.training.batch_size, self.ranking.samples.length_pool
        others = {"weight": grouped.weight, "offset": grouped.offset, "unmined": grouped.groups.from_catalogue}
        some = {name: None if values is None else values[rows] for name, values in others.items()}
        about = {"labels": self.labels[rows], "mask": codes >= 0, **some}
        return {"inputs": inputs, **about, "batch_size": size, "pool": pool}

    def write(self, path: Path, columns: "GroupColumns", group_bytes: int) -> None:
        """Encodes all groups into a file of these columns, so many bytes at a time."""
        from recsys.training.batches import Part, check_labelled
        from recsys.training.group_files import groups_table, write_groups

        check_labelled(self.mask)
        step = max(group_bytes // self.row_bytes, 1)
        parts = (slice(start, start + step) for start in range(0, len(self.labels), step))
        write_groups(path, (groups_table(Part(**self._encoded(rows)), columns) for rows in parts))


def _windows(
    config: Config, ranking: RankingConfig, context: StageContext, features: Features, spec: InputSpec
) -> tuple[_Window, _Window]:
    """What the ranker learns from, and what it is validated on."""
    histories = Log.load(context.inputs["split"]).histories(config)
    log, assembler = context_log(features, context.inputs["ingest"]), Assembler(features.item, spec)
    parts = [GroupedRequests.load(context.inputs["candidates"] / part) for part in ("train", "valid")]
    for name, part in zip(("train", "valid"), parts, strict=True):
        if not (part.groups.codes >= 0).any():
            raise DataError(f"ranking: {_NOTHING[name, ranking.samples.kind]}")
    train, valid = (_Window(part, part.labels, histories, features, log, assembler, ranking) for part in parts)
    return train, valid


def _parts(ranking: RankingConfig, windows: tuple[_Window, _Window], context: StageContext, *, again: bool) -> _Parts:
    memory = int(ranking.memory_mb * 2**20)
    size = sum(window.row_bytes * len(window.labels) for window in windows)
    if size <= memory or ranking.teacher is not None or ranking.samples.hard_negatives or _makes_up(ranking):
        return _in_memory(ranking, windows, context.seed, again=again)
    context.say(f"ranking: streaming {size / 2**20:,.0f} MB of samples, as ranking.memory_mb is {ranking.memory_mb:g}")
    return _on_disk(ranking, windows, context.scratch, memory // 2, again=again)


def _in_memory(ranking: RankingConfig, windows: tuple[_Window, _Window], seed: int, *, again: bool) -> _InMemory:
    from recsys.training.batches import joined

    fitting, validation = _with_synthetic(ranking, windows[0].samples(), seed), windows[1].samples()
    return fitting, validation, joined(fitting, validation) if again else None


def _on_disk(
    ranking: RankingConfig, windows: tuple[_Window, _Window], folder: Path, buffer: int, *, again: bool
) -> "tuple[Stream, Stream, Stream | None]":
    from recsys.training.stream import Stream

    paths = [folder / "train.parquet", folder / "valid.parquet"]
    for window, path in zip(windows, paths, strict=True):
        window.write(path, windows[0].columns, buffer // _GROUPS_A_BUFFER)
    size, pool = ranking.training.batch_size, ranking.samples.length_pool

    def stream(files: list[Path]) -> Stream:
        return Stream(files, windows[0].columns, size, buffer=buffer, pool=pool)

    return stream(paths[:1]), stream(paths[1:]), stream(paths) if again else None


@dataclass(frozen=True, slots=True)
class _Judge:
    """What early stopping goes by, and what else is told of every epoch.

    AUC of labelled rows, NDCG of lists. Of several tasks: its mean over tasks, and the AUC of each. What the window
    cannot tell, because all its labels are equal, is NaN, and counts in no mean.
    """

    rows: bool
    tasks: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the figure that training goes by."""
        return "auc" if self.rows else "ndcg@10"

    def __call__(self, scores: Scores, window: _Window) -> dict[str, float]:
        """Figures by name, that one first."""
        mask, truth = window.mask, window.labels
        if not self.tasks:
            if self.rows:
                return {self.name: auc(truth[mask], scores[mask])}
            return {self.name: _list_quality(scores, truth, mask, window.grouped.requests.counts)}
        columns = {name: (scores[..., task], truth[..., task]) for task, name in enumerate(self.tasks)}
        areas = {f"auc/{name}": auc(labels[mask], own[mask]) for name, (own, labels) in columns.items()}
        if self.rows:
            return {self.name: _mean(list(areas.values())), **areas}
        quality = [_task_quality(own, labels, mask) for own, labels in columns.values()]
        return {self.name: _mean(quality), **areas}


def _judge(ranking: RankingConfig) -> _Judge:
    return _Judge(ranking.samples.kind == "events", tuple(ranking.tasks))


def _list_quality(scores: Scores, labels: Scores, mask: NDArray[np.bool_], counts: NDArray[np.integer]) -> float:
    order = np.argsort(-np.where(mask, scores, -np.inf), axis=1, kind="stable")
    hits = np.take_along_axis(labels, order, axis=1) > 0
    return float(ndcg_at_k(hits, counts, 10).mean())


def _mean(figures: list[float]) -> float:
    """Of those that are no NaN; NaN without any."""
    known = [figure for figure in figures if not math.isnan(figure)]
    return float(np.mean(known)) if known else math.nan


def _task_quality(scores: Scores, labels: Scores, mask: NDArray[np.bool_]) -> float:
    """Over the requests that have a positive of the task; NaN without any."""
    counts = (labels > 0).sum(axis=1)
    some = counts > 0
    return _list_quality(scores[some], labels[some], mask[some], counts[some]) if some.any() else math.nan
