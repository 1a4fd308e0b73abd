"""What an evaluation found, as plain values; reports, plots and trackers read it."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Codes, Floats
from recsys.metrics.bootstrap import Interval

__all__ = [
    "AT",
    "FUNNEL",
    "FUSION",
    "LABELS",
    "ROUTE",
    "Comparison",
    "Decisions",
    "FunnelEvaluation",
    "LossAttribution",
    "RouteValue",
    "RouteValues",
    "RowMetrics",
    "RowsEvaluation",
    "SliceRow",
    "SliceTable",
    "StageResult",
    "TruthResult",
]

AT = 10
"""The list length of comparisons, loss attribution, coverage and slices: what fits a first screen."""
LABELS = {"ndcg": "NDCG", "recall": "Recall", "hit_rate": "HitRate", "mrr": "MRR", "map": "MAP"}
"""The metrics as reports call them."""
ROUTE = "route."
"""Prefix of the stages that are one route's own list."""
FUSION = "fusion"
FUNNEL = "funnel"


@dataclass(frozen=True, slots=True)
class StageResult:
    """How good the lists of one stage are.

    Attributes:
        name: `route.<name>`, `fusion` or `funnel`.
        metrics: by metric name, then by k.
        coverage: share of the catalogue in the first 10 places of all lists.
        gini: how unequally those places are given out; 0 is even.
    """

    name: str
    metrics: Mapping[str, Mapping[int, Interval]]
    coverage: float
    gini: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The funnel against another stage on the same requests.

    Attributes:
        against: the other stage.
        metric: metric name.
        k: list length.
        difference: funnel minus the other, per request.
    """

    against: str
    metric: str
    k: int
    difference: Interval


@dataclass(frozen=True, slots=True)
class LossAttribution:
    """Where the positives of the requests went; `found + ranking + recall` is 1.

    Attributes:
        k: list length.
        found: share in the first k places of the answer.
        ranking: share among the candidates, but not in the first k places.
        recall: share that is no candidate.
        no_room: part of `ranking` that could not have been found: the request has more than k positives among its
            candidates.
    """

    k: int
    found: float
    ranking: float
    recall: float
    no_room: float


@dataclass(frozen=True, slots=True)
class Decisions:
    """What becomes of rows that get a yes from a probability on.

    Attributes:
        threshold: that probability, chosen on validation.
        precision: share of positives among the rows that get a yes; NaN when none does.
        recall: share of the positives that get a yes; NaN without positives.
    """

    threshold: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both; NaN where one is, or both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else math.nan


@dataclass(frozen=True, slots=True)
class RowMetrics:
    """How well the ranker tells positive from negative rows.

    Attributes:
        source: which rows, in words.
        rows: how many.
        positives: how many of them are positive.
        auc: over all rows; NaN when a class is missing.
        gauc: within groups, weighted by rows; NaN when no group has both classes, `None` where rows have no groups.
        logloss: mean, in nats, of the calibrated probabilities, or of σ(score) where there are none; then it says
            something only of rankers trained to predict a probability, as does what follows.
        calibration_error: mean gap between probability and share of positives, over bins of equally many rows.
        decisions: at the threshold of the bundle; `None` where it has none.
    """

    source: str
    rows: int
    positives: int
    auc: float
    gauc: float | None
    logloss: float
    calibration_error: float
    decisions: Decisions | None = None


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One slice.

    Attributes:
        name: what the slice holds.
        count: requests or positives in it.
        values: by stage.
    """

    name: str
    count: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SliceTable:
    """A metric by slice and stage.

    Attributes:
        key: short name, for metric names.
        title: what is sliced by.
        counted: what `count` counts.
        metric: label of the values.
        rows: slices that are not empty.
    """

    key: str
    title: str
    counted: str
    metric: str
    rows: tuple[SliceRow, ...]


@dataclass(frozen=True, slots=True)
class TruthResult:
    """The first 10 places against the best that could stand there.

    Attributes:
        ndcg: by stage, NDCG@10 with the true click probabilities as gains: the share of the oracle's discounted clicks.
        regret: of the funnel, how much lower the mean click probability of its places is than that of the best items.
    """

    ndcg: Mapping[str, Interval]
    regret: Interval


@dataclass(frozen=True, slots=True)
class RouteValue:
    """What a route is worth beside the others.

    Attributes:
        name: of the route.
        found: share of the positives in its own list.
        unique: share of the positives in its list and in no other.
        recall: how much of the recall of the fused candidates goes when it is left out.
        ndcg: how much of their NDCG@10.
    """

    name: str
    found: float
    unique: float
    recall: Interval
    ndcg: Interval


@dataclass(frozen=True, slots=True)
class RouteValues:
    """What the routes are worth.

    Attributes:
        requests: how many were looked at.
        candidates: length of the fused list.
        routes: R of them, in the order of the bundle.
        overlap: `(R, R)` share of the items of a route's list (row) that another's holds (column).
    """

    requests: int
    candidates: int
    routes: tuple[RouteValue, ...]
    overlap: NDArray[np.float64]

    @property
    def dispensable(self) -> tuple[str, ...]:
        """Routes without which the fused list is not clearly worse: each by itself, not all together."""
        return tuple(r.name for r in self.routes if r.recall.low <= 0 and r.ndcg.low <= 0)


@dataclass(frozen=True, slots=True)
class FunnelEvaluation:
    """Everything a report says.

    Attributes:
        requests: number of requests Q.
        positives: number of positives over all requests.
        items: size of the catalogue.
        ks: list lengths, ascending.
        resamples: behind every interval.
        stages: routes in the order of the bundle, then fusion, then the funnel.
        best_route: the route stage with the highest NDCG@10.
        comparisons: the funnel against its best route and against fusion.
        loss: where positives are lost.
        ranker: `None` without a ranker.
        slices: the same metrics for parts of the requests or positives.
        codes: `(Q, K)` the answers, K the longest list length, padded with −1.
        scores: `(Q, K)` their scores, −inf at padding.
        truth: against the best lists there could be; `None` where nobody knows them.
        routes: what each route is worth beside the others; `None` where there is one only.
        tasks: how well each of several tasks is told; empty where there is one.
    """

    requests: int
    positives: int
    items: int
    ks: tuple[int, ...]
    resamples: int
    stages: tuple[StageResult, ...]
    best_route: str
    comparisons: tuple[Comparison, ...]
    loss: LossAttribution
    ranker: RowMetrics | None
    slices: tuple[SliceTable, ...]
    codes: Codes
    scores: Floats
    truth: TruthResult | None = None
    routes: RouteValues | None = None
    tasks: Mapping[str, RowMetrics] = field(default_factory=dict)

    def stage(self, name: str) -> StageResult:
        """The stage of this name. Raises `KeyError` when there is none."""
        return {stage.name: stage for stage in self.stages}[name]

    def flat(self) -> dict[str, float]:
        """Every figure by name: `funnel/ndcg@10`, `funnel/ndcg@10/low`, `ranker/auc`, …; NaN left out."""
        return _numbers([*_stages(self.stages), *self._summary(), *_slices(self.slices)])

    def headline(self) -> dict[str, float]:
        """The figures that runs are compared by, a selection of `flat`; NaN left out."""
        return _numbers([*_stage_means(self.stages, self.ks[-1]), *self._summary()])

    def _summary(self) -> Iterator[tuple[str, float]]:
        yield from _comparisons(self.comparisons)
        yield from _loss(self.loss)
        if self.ranker is not None:
            yield from _rows("ranker", self.ranker)
        for name, rows in self.tasks.items():
            yield from _rows(f"task/{name}", rows)
        if self.routes is not None:
            yield from _routes(self.routes)
        if self.truth is not None:
            yield from _truth(self.truth)
        yield from (("requests", self.requests), ("positives", self.positives))


@dataclass(frozen=True, slots=True)
class RowsEvaluation:
    """Everything a report says of a pipeline that only scores rows.

    Attributes:
        ranker: what rows are ordered by, against `data.positive`.
        tasks: how well each of several tasks is told; empty where there is one.
    """

    ranker: RowMetrics
    tasks: Mapping[str, RowMetrics] = field(default_factory=dict)

    def flat(self) -> dict[str, float]:
        """Every figure by name: `ranker/auc`, `task/click/logloss`, …; NaN left out."""
        tasks = (_rows(f"task/{name}", rows) for name, rows in self.tasks.items())
        sizes = (("rows", self.ranker.rows), ("positives", self.ranker.positives))
        return _numbers([*_rows("ranker", self.ranker), *itertools.chain.from_iterable(tasks), *sizes])

    def headline(self) -> dict[str, float]:
        """The figures that runs are compared by: all of them."""
        return self.flat()


def _numbers(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    return {name: float(value) for name, value in pairs if not math.isnan(value)}


def _stage_means(stages: tuple[StageResult, ...], longest: int) -> Iterator[tuple[str, float]]:
    for stage in stages:
        for metric, by_k in stage.metrics.items():
            yield f"{stage.name}/{metric}@{AT}", by_k[AT].mean
        yield f"{stage.name}/recall@{longest}", stage.metrics["recall"][longest].mean
        yield f"{stage.name}/coverage@{AT}", stage.coverage


def _stages(stages: tuple[StageResult, ...]) -> Iterator[tuple[str, float]]:
    for stage in stages:
        for metric, by_k in stage.metrics.items():
            for k, value in by_k.items():
                yield from _interval(f"{stage.name}/{metric}@{k}", value)
        yield f"{stage.name}/coverage@{AT}", stage.coverage
        yield f"{stage.name}/gini@{AT}", stage.gini


def _comparisons(comparisons: tuple[Comparison, ...]) -> Iterator[tuple[str, float]]:
    for comparison in comparisons:
        name = f"funnel_vs_{comparison.against}/{comparison.metric}@{comparison.k}"
        yield from _interval(name, comparison.difference)


def _interval(name: str, value: Interval) -> Iterator[tuple[str, float]]:
    yield from ((name, value.mean), (f"{name}/low", value.low), (f"{name}/high", value.high))


def _loss(loss: LossAttribution) -> Iterator[tuple[str, float]]:
    yield f"loss/found@{loss.k}", loss.found
    yield f"loss/ranking@{loss.k}", loss.ranking
    yield f"loss/no_room@{loss.k}", loss.no_room
    yield "loss/recall", loss.recall


def _truth(truth: TruthResult) -> Iterator[tuple[str, float]]:
    for stage, share in truth.ndcg.items():
        yield from _interval(f"{stage}/true_ndcg@{AT}", share)
    yield from _interval(f"{FUNNEL}/regret@{AT}", truth.regret)


_FIGURES = ("auc", "gauc", "logloss", "calibration_error")
_DECIDED = ("threshold", "precision", "recall", "f1")


def _rows(name: str, rows: RowMetrics) -> Iterator[tuple[str, float]]:
    figures = ((f"{name}/{figure}", getattr(rows, figure)) for figure in _FIGURES)
    yield from ((figure, value) for figure, value in figures if value is not None)
    if rows.decisions is not None:
        yield from ((f"{name}/{figure}", getattr(rows.decisions, figure)) for figure in _DECIDED)


def _routes(values: RouteValues) -> Iterator[tuple[str, float]]:
    for route in values.routes:
        name = f"routes/{route.name}"
        yield from ((f"{name}/found", route.found), (f"{name}/unique", route.unique))
        yield from _interval(f"{name}/adds_recall@{values.candidates}", route.recall)
        yield from _interval(f"{name}/adds_ndcg@{AT}", route.ndcg)


def _slices(tables: tuple[SliceTable, ...]) -> Iterator[tuple[str, float]]:
    for table in tables:
        for row in table.rows:
            for stage, value in row.values.items():
                yield f"slice/{table.key}={row.name}/{stage}/{table.metric.lower()}", value
