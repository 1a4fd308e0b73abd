"""The report as one self-contained page: no scripts, nothing fetched, light or dark as the reader's system is."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from recsys.evaluation.plots import Plot
from recsys.evaluation.results import (
    AT,
    FUNNEL,
    LABELS,
    FunnelEvaluation,
    RouteValues,
    RowsEvaluation,
    SliceTable,
    TruthResult,
)
from recsys.evaluation.text import (
    dispensable_line,
    headline_columns,
    loss_line,
    number,
    ranker_lines,
    regret_line,
    route_columns,
    size_line,
    verdict,
)
from recsys.metrics.bootstrap import Interval

__all__ = ["render_html"]

_STYLE = Path(__file__).with_name("report.css")


def render_html(
    evaluation: FunnelEvaluation | RowsEvaluation,
    plots: Sequence[Plot],
    *,
    title: str,
    protocol: str,
    notes: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        evaluation: what was found.
        plots: figures to show; empty where they cannot be drawn.
        title: name of the pipeline.
        protocol: how the log was cut, in one line.
        notes: further lines for the reader.
    """
    if isinstance(evaluation, RowsEvaluation):
        sections, method = _row_sections(evaluation), _row_method(protocol)
    else:
        sections, method = _funnel_sections(evaluation, plots), [*_method(evaluation, protocol), *_missing(plots)]
    sections.append(_section("How this was measured", [_list([*method, *notes])]))
    heading = f"<header><h1>{escape(title)}</h1>{_paragraph(size_line(evaluation))}{_paragraph(protocol)}</header>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}: evaluation</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<main>\n{heading}\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _row_sections(evaluation: RowsEvaluation) -> list[str]:
    rows = {"all": evaluation.ranker} | dict(evaluation.tasks)
    header = ["", "rows", "positives", "AUC", "GAUC", "log loss", "calibration error"]
    figures = {name: (own.auc, own.gauc, own.logloss, own.calibration_error) for name, own in rows.items()}
    cells = [
        [
            escape(name),
            f"{own.rows:,}",
            f"{own.positives:,}",
            *("–" if value is None else number(value) for value in figures[name]),
        ]
        for name, own in rows.items()
    ]
    table = _table("Over the labelled rows of the test window", header, cells, strong="all")
    return [_section("Summary", [table, *map(_paragraph, ranker_lines(evaluation))])]


def _row_method(protocol: str) -> list[str]:
    return [
        f"Protocol: {protocol}.",
        "Every score comes from the published bundle through the code that serves.",
        "AUC is over all rows at once, never a mean over batches.",
        "Log loss and calibration error are of the probabilities that are served: calibrated ones, or σ(score).",
    ]


def _funnel_sections(evaluation: FunnelEvaluation, plots: Sequence[Plot]) -> list[str]:
    figures = {plot.name: _figure(plot) for plot in plots}
    return [
        _section("Summary", [_key_figures(evaluation), *_sentences(evaluation), _comparisons(evaluation)]),
        *([] if evaluation.truth is None else [_section("Against the truth", [_truth(evaluation.truth)])]),
        _section("Where the positives go", [_paragraph(loss_line(evaluation.loss)), figures.get("loss", "")]),
        _section("Stages", [_stages(evaluation), figures.get("recall", ""), figures.get("metrics", "")]),
        *([] if evaluation.routes is None else [_section("Routes", _routes(evaluation.routes, figures))]),
        *(
            _section(f"By {table.title}", [figures.get(f"slices-{table.key}", ""), _slices(table)])
            for table in evaluation.slices
        ),
    ]


def _key_figures(evaluation: FunnelEvaluation) -> str:
    funnel = evaluation.stage(FUNNEL)
    figures = [(f"{LABELS[m]}@{k}", f"{funnel.metrics[m][k].mean:.4f}") for m, k in headline_columns(evaluation)]
    figures += [(f"Coverage@{AT}", f"{funnel.coverage:.1%}"), (f"Gini@{AT}", f"{funnel.gini:.3f}")]
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in figures)
    return f'<dl class="figures">{items}</dl>\n'


def _sentences(evaluation: FunnelEvaluation) -> list[str]:
    return [_paragraph(line) for line in ranker_lines(evaluation)]


def _truth(truth: TruthResult) -> str:
    rows = [[escape(stage), _interval(share)] for stage, share in truth.ndcg.items()]
    caption = f"True NDCG@{AT}: share of the discounted clicks that the best list would get"
    return _paragraph(regret_line(truth)) + _table(caption, ["stage", "share"], rows, strong=FUNNEL)


def _comparisons(evaluation: FunnelEvaluation) -> str:
    rows = [
        [
            escape(c.against),
            f"{c.difference.mean:+.4f}",
            f"{c.difference.low:+.4f} to {c.difference.high:+.4f}",
            verdict(c),
        ]
        for c in evaluation.comparisons
    ]
    caption = f"NDCG@{AT} of the funnel minus that of another stage, on the same requests"
    return _table(caption, ["against", "difference", "95 % interval", "verdict"], rows, words=(3,))


def _stages(evaluation: FunnelEvaluation) -> str:
    columns = headline_columns(evaluation)
    header = ["stage", *(f"{LABELS[m]}@{k}" for m, k in columns), f"Coverage@{AT}", f"Gini@{AT}"]
    rows = [
        [escape(s.name), *(_interval(s.metrics[m][k]) for m, k in columns), f"{s.coverage:.1%}", f"{s.gini:.3f}"]
        for s in evaluation.stages
    ]
    return _table("Mean over requests, with its 95 % interval below", header, rows, strong=FUNNEL)


def _routes(values: RouteValues, figures: Mapping[str, str]) -> list[str]:
    rows = [
        [
            escape(route.name),
            *(f"{value:.4f}" for value in (route.found, route.unique)),
            *(_interval(value) for value in (route.recall, route.ndcg)),
        ]
        for route in values.routes
    ]
    caption = (
        f"Share of the positives a route finds, and finds alone; what the {values.candidates} fused candidates lose "
        f"without it, over {values.requests:,} requests"
    )
    table = _table(caption, route_columns(values), rows)
    return [table, _paragraph(dispensable_line(values)), figures.get("overlap", "")]


def _interval(value: Interval) -> str:
    return f"{value.mean:.4f}<small>{value.low:.4f} – {value.high:.4f}</small>"


def _slices(table: SliceTable) -> str:
    stages = list(table.rows[0].values) if table.rows else []
    rows = [[escape(r.name), f"{r.count:,}", *(f"{r.values[stage]:.4f}" for stage in stages)] for r in table.rows]
    header = [table.title, table.counted, *stages]
    return _table(f"{table.metric} by {table.title}", header, rows)


def _method(evaluation: FunnelEvaluation, protocol: str) -> list[str]:
    return [
        f"Protocol: {protocol}.",
        "Every answer comes from the published bundle through the code that serves; each list is drawn from the whole "
        "catalogue, never from sampled negatives.",
        "Where a list is shorter than k, the missing places count as misses.",
        f"Intervals are 95 % percentile intervals from {evaluation.resamples:,} bootstrap resamples of the requests; "
        "differences are taken request by request.",
        "The best route has the highest NDCG@10 of all on these very requests, so the comparison leans towards it.",
        "Popularity counts events of the window the routes were fitted on: head is the most popular tenth of the "
        "catalogue, torso the next four tenths, tail the rest.",
    ]


def _missing(plots: Sequence[Plot]) -> list[str]:
    return [] if plots else ["No figures: matplotlib is not installed; pip install 'recsys[train]' draws them."]


def _figure(plot: Plot) -> str:
    element = plot.svg.replace("<svg", f'<svg role="img" aria-label="{escape(plot.description)}"', 1)
    return f"<figure>\n{element}\n<figcaption>{escape(plot.title)}</figcaption>\n</figure>\n"


def _section(title: str, parts: Sequence[str]) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>\n"


def _table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, strong: str = "", words: Sequence[int] = ()
) -> str:
    """A table whose cells are already HTML; the first column heads its row, columns in `words` hold no numbers."""
    head = "".join(
        f'<th scope="col"{" class=words" if i in words else ""}>{escape(name)}</th>' for i, name in enumerate(header)
    )
    body = "".join(_row(row, row[0] == strong, words) for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _row(cells: Sequence[str], strong: bool, words: Sequence[int]) -> str:
    rest = "".join(f'<td class="words">{c}</td>' if i in words else f"<td>{c}</td>" for i, c in enumerate(cells) if i)
    return f'<tr{" class=strong" if strong else ""}><th scope="row">{cells[0]}</th>{rest}</tr>\n'
