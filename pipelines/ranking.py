"""`ranking`: the ranker, trained on the rank window, stopped by the valid window, exported behind the parity gate."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.candidates import GroupedRequests
from pipelines.inputs import Features, Log, context_log, encoded_queries
from pipelines.stage import Metrics, Stage, StageContext
from recsys.config import Config
from recsys.features.assemble import Assembler
from recsys.features.batch import InputSpec
from recsys.features.history import Histories
from recsys.funnel.match_features import MatchFeatures
from recsys.funnel.route_features import route_fields
from recsys.metrics.classification import auc
from recsys.metrics.ranking import ndcg_at_k
from recsys.ranking.configs import RankingConfig
from recsys.ranking.registry import ranker_modules
from recsys.ranking.settings.trees import TreeSettings
from recsys.scoring.onnx import OnnxScorer
from recsys.scoring.registry import save_scorer

if TYPE_CHECKING:
    from recsys.losses.base import Objective
    from recsys.ranking.base import Ranker
    from recsys.training.batches import Samples, SampleSource
    from recsys.training.group_files import GroupColumns
    from recsys.training.stream import Stream
    from recsys.training.trainer import TrainResult, Validation

__all__ = ["model_inputs", "stage"]

Scores = NDArray[np.float32]
Figures = Callable[[Scores], dict[str, float]]
_Parts: TypeAlias = "tuple[SampleSource, SampleSource, SampleSource | None]"
"""What fits, what validates, and both when the ranker is fitted on them in the end."""
_InMemory: TypeAlias = "tuple[Samples, Samples, Samples | None]"
_GROUPS_A_BUFFER = 16
"""Groups of rows that a shuffle buffer holds: enough for batches that are well mixed."""


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
            "recsys.training.stream",
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

    features = Features.load(context.inputs["features"])
    spec = select_inputs(model_inputs(config, features), ranking.model)
    windows = _windows(config, ranking, context, features, spec)
    judge, again = _judge(ranking), config.refit == "all"

    def figures(scores: Scores) -> dict[str, float]:
        return judge(scores, windows[1])

    path = context.scratch / "model.onnx"
    if isinstance(ranking.model, TreeSettings):
        parts = _in_memory(windows, again=again)
        metrics = _grown(ranking, ranking.model, spec, parts, context, figures, path)
    else:
        metrics = _trained(ranking, spec, _parts(ranking, windows, context, again=again), context, figures, path)
    save_scorer(OnnxScorer(path), context.folder / "scorer")
    text = json.dumps(asdict(spec), ensure_ascii=False, indent=1)
    (context.folder / "inputs.json").write_text(text + "\n", encoding="utf-8")
    return {f"valid/{judge.name}" if name == "best" else name: value for name, value in metrics.items()}


def _trained(
    ranking: RankingConfig, spec: InputSpec, parts: _Parts, context: StageContext, figures: Figures, path: Path
) -> Metrics:
    """Trains a network and writes its graph."""
    from recsys.release.export import export_onnx
    from recsys.training.trainer import predict

    fitting, validation, both = parts
    model, result = _fitted(
        ranking, spec, fitting, context, context.log, lambda model: figures(predict(model, validation))
    )
    if both is not None:
        # The best number of epochs is settled: the valid window may teach, too.
        settled = ranking.training.model_copy(update={"epochs": result.best_epoch})
        again = ranking.model_copy(update={"training": settled})
        model, _ = _fitted(again, spec, both, context, lambda what, *at: context.log(f"refit/{what}", *at), None)
    export_onnx(model, spec.fields, spec.history_length, path, output="logits")
    return {"best": result.best, "best_epoch": result.best_epoch, "epochs": result.epochs}


def _grown(
    ranking: RankingConfig,
    model: TreeSettings,
    spec: InputSpec,
    parts: _InMemory,
    context: StageContext,
    figures: Figures,
    path: Path,
) -> Metrics:
    """Grows trees and writes their graph."""
    from recsys.ranking.trees.fit import fit_trees

    def judge(scores: Scores, trees: int) -> float:
        found = figures(scores)
        for name, value in found.items():
            context.log(f"valid/{name}", value, trees)
        return next(iter(found.values()))

    fitting, validation, both = parts
    grow = partial(fit_trees, seed=context.seed, threads=ranking.training.threads)
    grown = grow(model, spec, fitting, validation=validation, judge=judge)
    best = next(iter(figures(grown.scores(validation)).values()))
    if both is not None:
        # The best number of trees is settled: the valid window may teach, too.
        grown = grow(model.model_copy(update={"trees": grown.trees}), spec, both)
    path.write_bytes(grown.graph)
    return {"best": best, "trees": grown.trees}


def _fitted(
    ranking: RankingConfig,
    spec: InputSpec,
    samples: "SampleSource",
    context: StageContext,
    log: Callable[[str, float, int], None],
    validate: "Validation | None",
) -> "tuple[Ranker, TrainResult]":
    """A freshly drawn ranker, trained."""
    from recsys.ranking.registry import build_ranker
    from recsys.training.trainer import seeded, train

    with seeded(context.seed):
        model = build_ranker(ranking.model, spec, max(len(ranking.tasks), 1))
    model.fit_inputs(samples)
    loss = _objective(ranking, model)
    stand = None if context.unfinished is None else context.unfinished / ("refit" if validate is None else "fit")
    run = partial(train, model, loss, samples, ranking.training, seed=context.seed, log=log)
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
        return GroupColumns(self.assembler.spec, labels, mask="mask", weight=weight)

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
        weight = None if grouped.weight is None else grouped.weight[rows]
        size, pool = self.ranking.training.batch_size, self.ranking.samples.length_pool
        about = {"labels": self.labels[rows], "mask": codes >= 0, "weight": weight}
        return {"inputs": inputs, **about, "batch_size": size, "pool": pool}

    def write(self, path: Path, group_bytes: int) -> None:
        """Encodes all groups into a file, so many bytes at a time."""
        from recsys.training.batches import Part, check_labelled
        from recsys.training.group_files import groups_table, write_groups

        check_labelled(self.mask)
        step = max(group_bytes // self.row_bytes, 1)
        parts = (slice(start, start + step) for start in range(0, len(self.labels), step))
        write_groups(path, (groups_table(Part(**self._encoded(rows)), self.columns) for rows in parts))


def _windows(
    config: Config, ranking: RankingConfig, context: StageContext, features: Features, spec: InputSpec
) -> tuple[_Window, _Window]:
    """What the ranker learns from, and what it is validated on."""
    histories = Log.load(context.inputs["split"]).histories(config)
    log, assembler = context_log(features, context.inputs["ingest"]), Assembler(features.item, spec)
    parts = [GroupedRequests.load(context.inputs["candidates"] / part) for part in ("train", "valid")]
    train, valid = (_Window(part, part.labels, histories, features, log, assembler, ranking) for part in parts)
    return train, valid


def _parts(ranking: RankingConfig, windows: tuple[_Window, _Window], context: StageContext, *, again: bool) -> _Parts:
    memory = int(ranking.memory_mb * 2**20)
    size = sum(window.row_bytes * len(window.labels) for window in windows)
    if size <= memory:
        return _in_memory(windows, again=again)
    context.say(f"ranking: streaming {size / 2**20:,.0f} MB of samples, as ranking.memory_mb is {ranking.memory_mb:g}")
    return _on_disk(ranking, windows, context.scratch, memory // 2, again=again)


def _in_memory(windows: tuple[_Window, _Window], *, again: bool) -> _InMemory:
    from recsys.training.batches import joined

    fitting, validation = windows[0].samples(), windows[1].samples()
    return fitting, validation, joined(fitting, validation) if again else None


def _on_disk(
    ranking: RankingConfig, windows: tuple[_Window, _Window], folder: Path, buffer: int, *, again: bool
) -> "tuple[Stream, Stream, Stream | None]":
    from recsys.training.stream import Stream

    paths = [folder / "train.parquet", folder / "valid.parquet"]
    for window, path in zip(windows, paths, strict=True):
        window.write(path, buffer // _GROUPS_A_BUFFER)
    size, pool = ranking.training.batch_size, ranking.samples.length_pool

    def stream(files: list[Path]) -> Stream:
        return Stream(files, windows[0].columns, size, buffer=buffer, pool=pool)

    return stream(paths[:1]), stream(paths[1:]), stream(paths) if again else None


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
