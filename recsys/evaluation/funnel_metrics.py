"""How good the funnel is, stage by stage, measured on the answers of the code that serves.

Every stage answers the same requests from the whole catalogue: each route with its own list, fusion with the candidates
in fused order, the funnel with what a caller would get. Where a list is shorter than k, the missing places are misses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from recsys.errors import DataError
from recsys.evaluation.config import EvaluationConfig
from recsys.evaluation.results import (
    AT,
    FUNNEL,
    FUSION,
    ROUTE,
    Comparison,
    Decisions,
    FunnelEvaluation,
    LossAttribution,
    RowMetrics,
    SliceRow,
    SliceTable,
    StageResult,
)
from recsys.evaluation.routes import judge_routes
from recsys.evaluation.slices import HISTORY_SLICES, POPULARITY_SLICES, history_slice, popularity_slice
from recsys.evaluation.truth import Truth, judge
from recsys.features.batch import Codes, Floats, QueryBatch
from recsys.features.history import Requests
from recsys.funnel.parts import Ranker
from recsys.funnel.runtime import Funnel
from recsys.metrics.bootstrap import intervals, paired
from recsys.metrics.classification import auc, calibration_error, gauc, logloss, precision_recall
from recsys.metrics.coverage import catalogue_coverage, gini
from recsys.metrics.ranking import ndcg_at_k, relevance
from recsys.metrics.registry import RANKING_METRICS

__all__ = ["evaluate_funnel", "evaluate_rows"]

Mask = NDArray[np.bool_]
_Value = TypeVar("_Value", bound=np.generic)

_CHUNK = 2048
"""Requests answered together: bounds memory, whatever the window."""
_ROW_REQUESTS = 20_000
"""Requests whose candidates the ranker's AUC is taken over; more would change its third digit."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the stages answered, all requests together.

    Attributes:
        hits: by stage, `(Q, K)` whether the item at each place is a positive.
        top: by stage, `(Q, 10)` item codes.
        codes: `(Q, K)` the funnel's answer.
        scores: `(Q, K)` its scores.
        candidates: `(Q,)` positives among the candidates.
        rows: of the requests sampled for it, each candidate's label, score and request; three `(M,)` arrays.
    """

    hits: Mapping[str, Mask]
    top: Mapping[str, Codes]
    codes: Codes
    scores: Floats
    candidates: NDArray[np.int64]
    rows: tuple[Mask, Floats, NDArray[np.int64]]


def evaluate_funnel(
    funnel: Funnel,
    requests: Requests,
    queries: QueryBatch,
    config: EvaluationConfig,
    *,
    rng: np.random.Generator,
    rows: RowMetrics | None = None,
    tasks: Mapping[str, RowMetrics] | None = None,
    truth: Truth | None = None,
) -> FunnelEvaluation:
    """Asks the funnel every request and measures each of its stages.

    Args:
        funnel: a loaded bundle.
        requests: Q requests with at least one positive each.
        queries: the same requests as the funnel reads them, with the history as of the request.
        config: list lengths and resamples; 10 is always among the list lengths.
        rng: draws resamples and, of a large window, the requests whose candidates the ranker is measured on.
        rows: the ranker's figures where labelled rows exist (`evaluate_rows`); `None` takes them over candidates.
        tasks: figures of each of several tasks, by name.
        truth: what users would really click, on a simulated world.

    Raises:
        DataError: there are no requests, or one has no positive.
    """
    _check(requests)
    ks = tuple(sorted({*config.ks, AT}))
    sampled = np.zeros(len(requests), dtype=bool)
    sampled[rng.choice(len(requests), min(_ROW_REQUESTS, len(requests)), replace=False)] = True
    answers = _collect(list(_answer(funnel, requests, queries, ks[-1], sampled)))
    counts, items = requests.counts, len(funnel.parts.items)
    stages = _stages(answers, counts, ks, items, config.bootstrap, rng)
    best = _best_route(stages)
    ranker = funnel.parts.ranker
    if rows is None and ranker is not None:
        rows = evaluate_rows(*answers.rows, ranker=ranker, source="candidates of the test requests")
    return FunnelEvaluation(
        requests=len(requests),
        positives=len(requests.positives),
        items=items,
        ks=ks,
        resamples=config.bootstrap,
        stages=stages,
        best_route=best,
        comparisons=tuple(_compare(answers, counts, other, config.bootstrap, rng) for other in (best, FUSION)),
        loss=_attribute(answers.hits[FUNNEL], answers.candidates, len(requests.positives)),
        ranker=rows,
        tasks=dict(tasks or {}),
        slices=(
            _by_history(answers, counts, queries.lengths),
            _by_popularity(answers, requests.positives, popularity_slice(funnel.parts.popularity)),
        ),
        codes=answers.codes,
        scores=answers.scores,
        routes=judge_routes(funnel.parts.generator, requests, queries, rng, resamples=config.bootstrap),
        truth=None if truth is None else judge(truth, requests.user, answers.top, rng, resamples=config.bootstrap),
    )


def evaluate_rows(
    labels: NDArray[np.bool_ | np.number],
    logits: NDArray[np.floating],
    groups: NDArray[np.integer] | None,
    *,
    ranker: Ranker | None = None,
    task: int | None = None,
    source: str = "labelled rows of the test window",
) -> RowMetrics:
    """How well logits separate labelled rows, and how true the probabilities are.

    Args:
        labels: `(N,)` 0 or 1.
        logits: `(N,)`.
        groups: `(N,)` user or request of each row; GAUC compares rows within a group. `None`: there are none.
        ranker: whose logits they are, which knows the probabilities; `None`: logits are log-odds.
        task: of the ranker; `None`: the logits are what candidates are ordered by.
        source: which rows, in words.
    """
    odds = logits if ranker is None else ranker.log_odds(logits, task)
    chances = expit(odds)
    threshold = None if ranker is None else ranker.threshold(task)
    return RowMetrics(
        source,
        rows=len(labels),
        positives=int(np.count_nonzero(labels)),
        auc=auc(labels, logits),
        gauc=None if groups is None else gauc(labels, logits, groups),
        logloss=logloss(labels, odds),
        calibration_error=calibration_error(labels, chances),
        decisions=None if threshold is None else Decisions(threshold, *precision_recall(labels, chances >= threshold)),
    )


def _check(requests: Requests) -> None:
    if not len(requests):
        raise DataError("evaluation: no requests; the test window holds no positive event; widen split.test")
    if not requests.counts.all():
        empty = int(np.flatnonzero(requests.counts == 0)[0])
        raise DataError(f"evaluation: request {empty} has no positive; expected at least one; leave such requests out")


def _answer(funnel: Funnel, requests: Requests, queries: QueryBatch, depth: int, sampled: Mask) -> Iterator[_Answers]:
    """The answers, a chunk of requests at a time."""
    generator = funnel.parts.generator
    for start in range(0, len(requests), _CHUNK):
        at = np.arange(start, min(start + _CHUNK, len(requests)))
        asked, some = queries.take(at), requests.take(at)
        ranked = funnel.rank(asked, max(depth, generator.fusion.candidates))
        lists = {ROUTE + name: codes for name, (codes, _) in ranked.lists.items()}
        lists |= {FUSION: ranked.candidates.codes, FUNNEL: ranked.codes}
        hits = {stage: relevance(codes, some.offsets, some.positives) for stage, codes in lists.items()}
        shown = (ranked.codes >= 0) & sampled[at][:, None]
        yield _Answers(
            hits={stage: _wide(values, depth, False) for stage, values in hits.items()},
            top={stage: _wide(codes, AT, -1) for stage, codes in lists.items()},
            codes=_wide(ranked.codes, depth, -1),
            scores=_wide(ranked.scores, depth, -np.inf),
            candidates=hits[FUNNEL].sum(axis=1),
            rows=(hits[FUNNEL][shown], ranked.scores[shown], at[np.nonzero(shown)[0]]),
        )


def _wide(values: NDArray[_Value], width: int, fill: float) -> NDArray[_Value]:
    """`(Q, width)` the first columns, padded where there are fewer."""
    cut = values[:, :width]
    return np.pad(cut, ((0, 0), (0, width - cut.shape[1])), constant_values=fill)


def _collect(chunks: list[_Answers]) -> _Answers:
    first = chunks[0]
    labels, scores, groups = (np.concatenate([chunk.rows[i] for chunk in chunks]) for i in range(3))
    return _Answers(
        hits={stage: np.concatenate([chunk.hits[stage] for chunk in chunks]) for stage in first.hits},
        top={stage: np.concatenate([chunk.top[stage] for chunk in chunks]) for stage in first.top},
        codes=np.concatenate([chunk.codes for chunk in chunks]),
        scores=np.concatenate([chunk.scores for chunk in chunks]),
        candidates=np.concatenate([chunk.candidates for chunk in chunks]),
        rows=(labels, scores, groups),
    )


def _stages(
    answers: _Answers,
    counts: NDArray[np.int64],
    ks: tuple[int, ...],
    items: int,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[StageResult, ...]:
    names = [(stage, metric, k) for stage in answers.hits for metric in RANKING_METRICS for k in ks]
    values = [RANKING_METRICS[metric](answers.hits[stage], counts, k) for stage, metric, k in names]
    measured = dict(zip(names, intervals(np.stack(values, axis=1), rng, resamples=resamples), strict=True))
    return tuple(
        StageResult(
            name=stage,
            metrics={metric: {k: measured[stage, metric, k] for k in ks} for metric in RANKING_METRICS},
            coverage=catalogue_coverage(answers.top[stage], items),
            gini=gini(answers.top[stage], items),
        )
        for stage in answers.hits
    )


def _best_route(stages: tuple[StageResult, ...]) -> str:
    routes = [stage for stage in stages if stage.name.startswith(ROUTE)]
    return max(routes, key=lambda stage: stage.metrics["ndcg"][AT].mean).name


def _compare(
    answers: _Answers, counts: NDArray[np.int64], other: str, resamples: int, rng: np.random.Generator
) -> Comparison:
    ours, theirs = (ndcg_at_k(answers.hits[stage], counts, AT) for stage in (FUNNEL, other))
    return Comparison(other, "ndcg", AT, paired(ours, theirs, rng, resamples=resamples))


def _attribute(hits: Mask, candidates: NDArray[np.int64], positives: int) -> LossAttribution:
    found, reached = int(hits[:, :AT].sum()), int(candidates.sum())
    crowded = int(np.maximum(candidates - AT, 0).sum())
    return LossAttribution(
        k=AT,
        found=found / positives,
        ranking=(reached - found) / positives,
        recall=(positives - reached) / positives,
        no_room=crowded / positives,
    )


def _by_history(answers: _Answers, counts: NDArray[np.int64], lengths: NDArray[np.int32]) -> SliceTable:
    """Mean NDCG@10 of the requests in each slice."""
    values = {stage: ndcg_at_k(hits, counts, AT) for stage, hits in answers.hits.items()}
    place = history_slice(lengths)
    rows = tuple(
        SliceRow(name, int(inside.sum()), {stage: float(each[inside].mean()) for stage, each in values.items()})
        for name, inside in ((name, place == number) for number, name in enumerate(HISTORY_SLICES))
        if inside.any()
    )
    return SliceTable("history", "history length", "requests", f"NDCG@{AT}", rows)


def _by_popularity(answers: _Answers, positives: Codes, place: NDArray[np.intp]) -> SliceTable:
    """Share of the positives in each slice of the catalogue that the first 10 places hold."""
    count = len(POPULARITY_SLICES)
    wanted = np.bincount(place[positives], minlength=count)
    found = {
        stage: np.bincount(place[answers.top[stage][hits[:, :AT]]], minlength=count)
        for stage, hits in answers.hits.items()
    }
    rows = tuple(
        SliceRow(name, int(wanted[i]), {stage: float(each[i] / wanted[i]) for stage, each in found.items()})
        for i, name in enumerate(POPULARITY_SLICES)
        if wanted[i]
    )
    return SliceTable("popularity", "popularity of the positive", "positives", f"Recall@{AT}", rows)
