"""Figures of a report, as PNG for folders and trackers and as SVG for the page.

matplotlib belongs to the extra `train`. It is imported when something is drawn; without it there are no figures, and
the report says so.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation.results import (
    AT,
    FUNNEL,
    FUSION,
    LABELS,
    ROUTE,
    FunnelEvaluation,
    RouteValues,
    SliceTable,
    StageResult,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Plot", "draw"]

_INK = "#1b2228"
"""Text and axes; becomes the colour of the surrounding text in the SVG, so that it reads on light and on dark pages."""
_FUNNEL, _FUSION = "#d1495b", "#8a6fb3"
_ROUTES = ("#2f7fc1", "#2a9d72", "#c98a1b", "#6b8a99", "#b06a3b", "#4f9fa8", "#9a7fbf", "#a3a13a")
"""Each reads on white and on near-black with a contrast of at least 3 to 1."""
_WIDTH = 9.6
_DARK = 0.55
"""Cells of a matrix above this share are dark."""
_SLICES = "Best route, fusion and funnel side by side; the figures are in the table below."


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure.

    Attributes:
        name: file name without extension.
        title: what it shows.
        description: what it says, for those who cannot see it.
        svg: an `<svg>` element to put into a page.
        png: the same on white.
    """

    name: str
    title: str
    description: str
    svg: str
    png: bytes


def draw(evaluation: FunnelEvaluation) -> list[Plot]:
    """Every figure; none where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return []
    few = [evaluation.best_route, FUSION, FUNNEL]
    return [
        _render(
            "loss", "Share of all positives of the test requests", _loss_words(evaluation), partial(_loss, evaluation)
        ),
        _render("recall", "Recall by list length", _recall_words(evaluation), partial(_recall, evaluation)),
        _render(
            "metrics", f"Metrics at {AT}, with 95 % intervals", _metric_words(evaluation), partial(_metrics, evaluation)
        ),
        *_overlap_plot(evaluation.routes),
        *(
            _render(f"slices-{table.key}", f"{table.metric} by {table.title}", _SLICES, partial(_slices, table, few))
            for table in evaluation.slices
        ),
    ]


def _overlap_plot(values: RouteValues | None) -> list[Plot]:
    if values is None:
        return []
    names = [route.name for route in values.routes]
    most = max(
        ((values.overlap[i, j], a, b) for i, a in enumerate(names) for j, b in enumerate(names) if i != j),
        default=(0.0, "", ""),
    )
    words = f"Most of all, {most[2]} holds {most[0]:.0%} of the items of {most[1]}."
    title = "Share of the items of a route's list (row) that another's holds (column)"
    return [_render("overlap", title, words, partial(_overlap, values.overlap, names))]


def _overlap(shares: NDArray[np.float64], names: Sequence[str]) -> "Figure":
    figure, axes = _figure(1.2 + 0.45 * len(names))
    axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*shares.shape):
        ink = "#ffffff" if shares[row, column] > _DARK else "#14202b"
        axes.text(column, row, f"{shares[row, column]:.2f}", ha="center", va="center", color=ink)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _loss_words(evaluation: FunnelEvaluation) -> str:
    loss = evaluation.loss
    return (
        f"{loss.found:.1%} of the positives are in the top {loss.k}, {loss.ranking:.1%} are lost at ranking, "
        f"{loss.recall:.1%} at recall."
    )


def _recall_words(evaluation: FunnelEvaluation) -> str:
    longest = evaluation.ks[-1]
    parts = [f"{s.name} {s.metrics['recall'][longest].mean:.3f}" for s in evaluation.stages]
    return f"Recall at {longest}: {', '.join(parts)}."


def _metric_words(evaluation: FunnelEvaluation) -> str:
    parts = [f"{stage.name} {stage.metrics['ndcg'][AT].mean:.4f}" for stage in evaluation.stages]
    return f"NDCG at {AT}: {', '.join(parts)}. Bars are 95 % intervals."


def _loss(evaluation: FunnelEvaluation) -> "Figure":
    figure, axes = _figure(1.3)
    loss = evaluation.loss
    parts = [
        (f"in the top {loss.k}", loss.found, "#2a9d72"),
        ("lost at ranking", loss.ranking - loss.no_room, "#c98a1b"),
        ("candidates, no room", loss.no_room, "#a8a29a"),
        ("lost at recall", loss.recall, "#d1495b"),
    ]
    start = 0.0
    for name, share, color in parts:
        axes.barh([0], [share], left=start, color=color, edgecolor="none", height=0.8, label=f"{name} {share:.1%}")
        start += share
    axes.set_xlim(0, 1)
    axes.set_axis_off()
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, labelcolor=_INK, handlelength=1)
    return figure


def _recall(evaluation: FunnelEvaluation) -> "Figure":
    figure, axes = _figure(4.0)
    colors = _colors(evaluation.stages)
    ends: list[tuple[float, str]] = []
    for stage in evaluation.stages:
        values = [stage.metrics["recall"][k].mean for k in evaluation.ks]
        strong = stage.name == FUNNEL
        axes.plot(evaluation.ks, values, color=colors[stage.name], linewidth=3 if strong else 1.6, marker="o", ms=4)
        ends.append((values[-1], stage.name))
    axes.set_xscale("log")
    axes.set_xticks(evaluation.ks, [str(k) for k in evaluation.ks])
    axes.minorticks_off()
    axes.set_xlabel("items shown (k)")
    axes.set_ylabel("Recall@k")
    axes.set_ylim(bottom=0)
    _label_ends(axes, evaluation.ks[-1], ends, colors)
    return figure


def _label_ends(axes: "Axes", x: float, ends: Sequence[tuple[float, str]], colors: Mapping[str, str]) -> None:
    """Names each line at its right end; labels that would overlap move apart."""
    ordered = sorted(ends)
    places = _spread([value for value, _ in ordered], gap=axes.get_ylim()[1] * 0.065)
    for (value, name), y in zip(ordered, places, strict=True):
        axes.plot([x, x * 1.1], [value, y], color=colors[name], linewidth=1, clip_on=False)
        axes.text(x * 1.13, y, f"{name} {value:.3f}", color=_INK, va="center")
    axes.set_xlim(right=x * 1.1)


def _spread(values: Sequence[float], gap: float) -> NDArray[np.float64]:
    """The positions nearest to ascending values that are at least `gap` apart (least squares)."""
    # It takes a sixth of a second to import, which a run with nothing to do must not pay.
    from scipy.optimize import isotonic_regression

    steps = gap * np.arange(len(values))
    moved: NDArray[np.float64] = isotonic_regression(np.asarray(values) - steps).x
    return moved + steps


def _metrics(evaluation: FunnelEvaluation) -> "Figure":
    from matplotlib.figure import Figure

    stages = evaluation.stages[::-1]
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.32 * len(stages)), layout="constrained")
    colors = _colors(evaluation.stages)
    panels = figure.subplots(1, len(LABELS), sharey=True)
    for axes, (metric, label) in zip(panels, LABELS.items(), strict=True):
        for row, stage in enumerate(stages):
            value = stage.metrics[metric][AT]
            axes.plot([value.low, value.high], [row, row], color=colors[stage.name], linewidth=2.5)
            axes.plot([value.mean], [row], "o", color=colors[stage.name], ms=6 if stage.name == FUNNEL else 4.5)
        axes.set_title(f"{label}@{AT}", color=_INK, fontsize=9)
        axes.set_xlim(left=0)
        axes.set_ylim(-0.6, len(stages) - 0.4)
        axes.locator_params(axis="x", nbins=3)
        _style(axes)
        axes.grid(axis="x", color=_INK, alpha=0.12)
    panels[0].set_yticks(range(len(stages)), [stage.name for stage in stages])
    return figure


def _slices(table: SliceTable, stages: Sequence[str]) -> "Figure":
    figure, axes = _figure(0.9 + 0.55 * len(table.rows))
    height = 0.8 / len(stages)
    colors = dict(zip(stages, (_ROUTES[0], _FUSION, _FUNNEL), strict=True))
    for number, stage in enumerate(stages):
        places = [row + (number - (len(stages) - 1) / 2) * height for row in range(len(table.rows))]
        axes.barh(
            places, [row.values[stage] for row in table.rows], height=height * 0.9, color=colors[stage], label=stage
        )
    axes.set_yticks(range(len(table.rows)), [f"{row.name}  ({row.count:,} {table.counted})" for row in table.rows])
    axes.invert_yaxis()
    axes.set_xlabel(table.metric)
    axes.grid(axis="x", color=_INK, alpha=0.12)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, labelcolor=_INK, handlelength=1)
    return figure


def _colors(stages: Sequence[StageResult]) -> dict[str, str]:
    routes = [stage.name for stage in stages if stage.name.startswith(ROUTE)]
    return {name: _ROUTES[i % len(_ROUTES)] for i, name in enumerate(routes)} | {FUSION: _FUSION, FUNNEL: _FUNNEL}


def _figure(height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    _style(axes)
    return figure, axes


def _style(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.set_axisbelow(True)


def _render(name: str, title: str, description: str, make: "Callable[[], Figure]") -> Plot:
    import matplotlib

    # Text stays text and ids depend on the name alone: the same figures give the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}):
        figure = make()
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    element = svg.getvalue()
    element = re.sub(r"\s*<metadata>.*?</metadata>", "", element[element.index("<svg") :], flags=re.DOTALL)
    return Plot(name, title, description, element.replace(_INK, "currentColor"), png.getvalue())
