"""The report as plain text, at most 100 columns wide."""

import math
from collections.abc import Sequence

from recsys.evaluation.results import (
    AT,
    FUNNEL,
    FUSION,
    LABELS,
    Comparison,
    FunnelEvaluation,
    LossAttribution,
    RouteValues,
    RowMetrics,
    RowsEvaluation,
    SliceTable,
    TruthResult,
)

__all__ = [
    "comparison_line",
    "dispensable_line",
    "headline_columns",
    "loss_line",
    "number",
    "ranker_lines",
    "regret_line",
    "render_text",
    "route_columns",
    "size_line",
    "verdict",
]

_NAME = 24


def render_text(
    evaluation: FunnelEvaluation | RowsEvaluation, *, title: str, protocol: str, notes: Sequence[str] = ()
) -> str:
    """The whole report.

    Args:
        evaluation: what was found.
        title: name of the pipeline.
        protocol: how the log was cut, in one line.
        notes: further lines.
    """
    found = [ranker_lines(evaluation)] if isinstance(evaluation, RowsEvaluation) else _funnel_blocks(evaluation)
    blocks = [[title, size_line(evaluation), f"Protocol: {protocol}"], *found, list(notes)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _funnel_blocks(evaluation: FunnelEvaluation) -> list[list[str]]:
    return [
        _stages(evaluation),
        _found(evaluation),
        _routes(evaluation.routes) if evaluation.routes is not None else [],
        _truth(evaluation.truth) if evaluation.truth is not None else [],
        *(_slices(table, evaluation.best_route) for table in evaluation.slices),
    ]


def size_line(evaluation: FunnelEvaluation | RowsEvaluation) -> str:
    """How much was measured."""
    if isinstance(evaluation, RowsEvaluation):
        rows = evaluation.ranker
        share = rows.positives / rows.rows if rows.rows else math.nan
        return f"{rows.rows:,} test rows, {rows.positives:,} of them positive ({share:.2%})"
    return (
        f"{evaluation.requests:,} test requests, {evaluation.positives:,} positives, "
        f"{evaluation.items:,} items; every list from the whole catalogue"
    )


def headline_columns(evaluation: FunnelEvaluation) -> list[tuple[str, int]]:
    """Metric and k of the columns of the table of stages: every metric at 10, then recall of the two longest lists."""
    longer = [k for k in evaluation.ks if k > AT][-2:]
    return [(metric, AT) for metric in LABELS] + [("recall", k) for k in longer]


def loss_line(loss: LossAttribution) -> str:
    """Where the positives went."""
    return (
        f"Positives: {loss.found:.1%} in the top {loss.k}, {loss.ranking:.1%} lost at ranking "
        f"(no room for {loss.no_room:.1%}), {loss.recall:.1%} lost at recall"
    )


def ranker_lines(evaluation: FunnelEvaluation | RowsEvaluation) -> list[str]:
    """How well the ranker separates, how true its probabilities are, and the same of each of its tasks."""
    own = {} if evaluation.ranker is None else {"Ranker": evaluation.ranker}
    tasks = {f"Task {name}": rows for name, rows in evaluation.tasks.items()}
    return [line for name, rows in (own | tasks).items() for line in _row_lines(name, rows)]


def _row_lines(name: str, rows: RowMetrics) -> list[str]:
    grouped = "" if rows.gauc is None else f", GAUC {number(rows.gauc)}"
    lines = [
        f"{name}: AUC {number(rows.auc)}{grouped} over {rows.rows:,} {rows.source}",
        f"{name}: log loss {number(rows.logloss)}, calibration error {number(rows.calibration_error)}",
    ]
    if rows.decisions is not None:
        own = rows.decisions
        told = f"precision {number(own.precision)}, recall {number(own.recall)}, F1 {number(own.f1)}"
        lines.append(f"{name}: from probability {own.threshold:.4f} on, {told}")
    return lines


def regret_line(truth: TruthResult) -> str:
    """What the funnel's lists lack to the best there could be."""
    lost = truth.regret
    return (
        f"Regret@{AT}: a place in the funnel's list gets {lost.mean:.4f} [{lost.low:.4f}, {lost.high:.4f}] fewer "
        "clicks than in the best"
    )


def comparison_line(comparison: Comparison) -> str:
    """The difference, its interval, and what it says."""
    value = comparison.difference
    metric = f"{LABELS[comparison.metric]}@{comparison.k}"
    return (
        f"{metric} against {_short(comparison.against)}: {value.mean:+.4f} [{value.low:+.4f}, {value.high:+.4f}], "
        f"{verdict(comparison)}"
    )


def verdict(comparison: Comparison) -> str:
    """Better, worse, or not to be told from chance."""
    if not comparison.difference.excludes_zero:
        return "no clear difference: the interval includes 0"
    return f"{'better' if comparison.difference.mean > 0 else 'worse'}: the interval excludes 0"


def _stages(evaluation: FunnelEvaluation) -> list[str]:
    columns = headline_columns(evaluation)
    rows = [[_short(s.name), *(f"{s.metrics[m][k].mean:.4f}" for m, k in columns)] for s in evaluation.stages]
    return _table(["stage", *(f"{LABELS[m]}@{k}" for m, k in columns)], rows)


def _found(evaluation: FunnelEvaluation) -> list[str]:
    funnel = evaluation.stage(FUNNEL)
    return [
        *ranker_lines(evaluation),
        loss_line(evaluation.loss),
        *map(comparison_line, evaluation.comparisons),
        f"Coverage@{AT} {funnel.coverage:.1%} of the catalogue, Gini@{AT} {funnel.gini:.3f}",
        f"95 % intervals from {evaluation.resamples:,} bootstrap resamples of the requests",
    ]


def _routes(values: RouteValues) -> list[str]:
    rows = [
        [
            _short(route.name),
            *(f"{value:.4f}" for value in (route.found, route.unique)),
            *(f"{value.mean:+.4f}" for value in (route.recall, route.ndcg)),
        ]
        for route in values.routes
    ]
    return ["What each route adds", *_table(route_columns(values), rows), dispensable_line(values)]


def route_columns(values: RouteValues) -> list[str]:
    """Heads of the table of routes."""
    return ["route", "finds", "finds alone", f"adds Recall@{values.candidates}", f"adds NDCG@{AT}"]


def dispensable_line(values: RouteValues) -> str:
    """Which route could go."""
    if not values.dispensable:
        return "Without any one of them the fused list is clearly worse."
    names = ", ".join(values.dispensable)
    return f"Left out alone, these cost nothing that shows (the interval includes 0): {names}"


def _truth(truth: TruthResult) -> list[str]:
    rows = [
        [_short(stage), f"{share.mean:.4f}", f"{share.low:.4f} to {share.high:.4f}"]
        for stage, share in truth.ndcg.items()
    ]
    title = f"True NDCG@{AT}: share of the discounted clicks that the best list would get"
    return [title, *_table(["", "share", "95 % interval"], rows), regret_line(truth)]


def _slices(table: SliceTable, best_route: str) -> list[str]:
    stages = [best_route, FUSION, FUNNEL]
    rows = [[row.name, f"{row.count:,}", *(f"{row.values[stage]:.4f}" for stage in stages)] for row in table.rows]
    return [f"{table.metric} by {table.title}", *_table(["", table.counted, *map(_short, stages)], rows)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column on the left and numbers on the right, two spaces between columns."""
    cells = [header, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]


def number(value: float) -> str:
    """With four decimals; `n/a` of NaN."""
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
