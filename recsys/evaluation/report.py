"""What an evaluation leaves behind for people and for other programs."""

import json
from collections.abc import Sequence
from pathlib import Path

from recsys.evaluation.html import render_html
from recsys.evaluation.plots import draw
from recsys.evaluation.results import FunnelEvaluation, RowsEvaluation
from recsys.evaluation.text import render_text

__all__ = ["METRICS", "REPORT_HTML", "REPORT_TEXT", "write_report"]

METRICS = "metrics.json"
REPORT_TEXT = "report.txt"
REPORT_HTML = "report.html"


def write_report(
    evaluation: FunnelEvaluation | RowsEvaluation, folder: Path, *, title: str, protocol: str, notes: Sequence[str] = ()
) -> dict[str, float]:
    """Writes `metrics.json`, `report.txt`, `report.html` and `plots/*.png`.

    Args:
        evaluation: what was found.
        folder: an existing folder.
        title: name of the pipeline.
        protocol: how the log was cut, in one line.
        notes: further lines for the reader.

    Returns:
        The figures that runs are compared by, by name; `metrics.json` holds these and all others.
    """
    figures = {name: round(value, 8) for name, value in sorted(evaluation.flat().items())}
    (folder / METRICS).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    text = render_text(evaluation, title=title, protocol=protocol, notes=notes)
    (folder / REPORT_TEXT).write_text(text, encoding="utf-8")
    plots = [] if isinstance(evaluation, RowsEvaluation) else draw(evaluation)
    if plots:
        (folder / "plots").mkdir(exist_ok=True)
    for plot in plots:
        (folder / "plots" / f"{plot.name}.png").write_bytes(plot.png)
    page = render_html(evaluation, plots, title=title, protocol=protocol, notes=notes)
    (folder / REPORT_HTML).write_text(page, encoding="utf-8")
    return evaluation.headline()
