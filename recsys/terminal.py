"""What the command line shows: tables on standard output, the progress of a run on standard error."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.status import Status
from rich.table import Table

from pipelines.graph import Observer

if TYPE_CHECKING:
    from pipelines.garbage import Holding, Leftover
    from pipelines.graph import StageStatus
    from pipelines.stage import Stage
    from pipelines.store import Artifact
    from recsys.funnel.explain import Explanation, Place
    from recsys.funnel.requests import Recommendation, Response

__all__ = [
    "DownloadDisplay",
    "RunDisplay",
    "duration",
    "print_explanation",
    "print_file",
    "print_holdings",
    "print_leftovers",
    "print_metrics",
    "print_recommendations",
    "print_statuses",
    "print_table",
    "printable",
]

_WIDTH = 120
"""Columns where the output is no terminal."""


def _console(*, error: bool = False) -> Console:
    stream = sys.stderr if error else sys.stdout
    # Titles and ids hold brackets that are no markup.
    return Console(file=stream, markup=False, highlight=False, width=None if stream.isatty() else _WIDTH)


def printable(text: object) -> str:
    """The text without control characters, which a title could use to rewrite the screen."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def duration(seconds: float) -> str:
    """Seconds as people read them.

    Example:
        >>> duration(0.04), duration(12.34), duration(75)
        ('0.04 s', '12.3 s', '1 min 15 s')
    """
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Prints a table to standard output; columns named in `right` are numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    _console().print(table)


def print_recommendations(response: "Response", *, explain: bool) -> None:
    """Rank, item, title, score and probability of every item, and with `explain` its rank in each route that found it.

    Probabilities are those of a bundle with calibration.
    """
    routes = sorted({name for item in response.items for name in item.routes})
    told = any(item.probability is not None for item in response.items)
    columns = ["rank", "item", "title", "score", *(["probability"] if told else []), *(["found by"] if explain else [])]
    rows: list[list[object]] = []
    for item in response.items:
        found = ", ".join(f"{name} #{item.routes[name]}" for name in routes if name in item.routes)
        row = [item.rank, item.item_id, item.title or "", f"{item.score:.4f}"]
        rows.append([*row, *([_chances(item)] if told else []), *([found or "—"] if explain else [])])
    print_table(columns, rows, right=["rank", "score", "probability"])


def _chances(item: "Recommendation") -> str:
    if isinstance(item.probability, Mapping):
        return ", ".join(f"{task} {chance:.4f}" for task, chance in item.probability.items())
    return "" if item.probability is None else f"{item.probability:.4f}"


def print_explanation(explanation: "Explanation", *, item: str, k: int) -> None:
    """What became of the item, then its place at every stage."""
    name = printable(f"{item} ({explanation.title})" if explanation.title else item)
    where = f"in the top {k}" if explanation.lost_at is None else f"not in the top {k}, lost at {explanation.lost_at}"
    _console().print(f"{name}: {where}; {printable(explanation.reason)}", soft_wrap=True)
    if explanation.lost_at == "catalogue":
        return
    rows = []
    for route, view in explanation.routes.items():
        overall = "never returned" if view.in_catalogue is None else f"{view.in_catalogue:,}"
        rows.append([f"route {route}", *_standing(view.place), overall, f"{view.weight:g}"])
    reached = explanation.lost_at in (None, "ranking")
    final = "ranking" if reached else "ranking, had it got there"
    for stage, place in (("fusion", explanation.fusion), (final, explanation.ranking)):
        rows.append([stage, *_standing(place), "", ""])
    columns = ["stage", "rank", "of", "score", "last one's score", "rank in the catalogue", "weight"]
    print_table(columns, rows, right=columns[1:])
    _console().print(f"history: {explanation.history_length:,} items")


def _standing(place: "Place | None") -> list[str]:
    if place is None:
        return ["—"] * 4
    numbers = [("—" if value is None else f"{value:.4f}") for value in (place.score, place.last)]
    return ["—" if place.rank is None else f"{place.rank:,}", f"{place.of:,}", *numbers]


def print_statuses(statuses: Sequence["StageStatus"]) -> None:
    """Every stage with its state, and why it is not fresh."""
    marks = {"fresh": "✓ fresh", "stale": "~ stale", "missing": "· missing"}
    rows = [
        [
            status.stage,
            marks[status.state],
            duration(status.artifact.seconds) if status.artifact else "",
            f"{_megabytes(status.artifact):.1f}" if status.artifact else "",
            status.why,
        ]
        for status in statuses
    ]
    print_table(["stage", "state", "took", "MB", "why"], rows, right=["took", "MB"])


def print_holdings(workspace: Path, holdings: Sequence["Holding"]) -> None:
    """Who uses the disk."""
    total = sum(part.size for part in holdings)
    parts = ", ".join(f"{part.what} {part.size / 1e6:.1f}" for part in holdings if part.size)
    _console().print(f"{printable(workspace)}: {total / 1e6:.1f} MB" + (f": {parts}" if parts else ""), soft_wrap=True)


def print_leftovers(leftovers: Sequence["Leftover"], *, removed: bool) -> None:
    """What was cleared away, or would be."""
    rows = [[left.what, left.folder, f"{left.size / 1e6:.1f}"] for left in leftovers]
    if rows:
        print_table(["what", "folder", "MB"], rows, right=["MB"])
    total = sum(left.size for left in leftovers) / 1e6
    folders = f"{len(rows)} folder{'' if len(rows) == 1 else 's'}"
    _console().print(f"{'removed' if removed else 'would remove'} {folders}, {total:.1f} MB")


def _megabytes(artifact: "Artifact") -> float:
    return sum(size for _, size in artifact.files.values()) / 1e6


class RunDisplay(Observer):
    """A line for each stage on standard error, a spinner while one runs; keeps what `--json` prints."""

    def __init__(self) -> None:
        self.stages: list[dict[str, Any]] = []
        self._console = _console(error=True)
        self._status: Status | None = None
        self._doing = ""
        self._width = 0

    def on_plan(self, stages: Sequence["Stage"]) -> None:
        """See `Observer`."""
        self._width = max((len(stage.name) for stage in stages), default=0)

    def on_wait(self, text: str) -> None:
        """See `Observer`."""
        self._console.print(f"  {printable(text)}", soft_wrap=True)

    def on_start(self, stage: "Stage", why: str) -> None:
        """See `Observer`."""
        self._doing = f"{stage.name}  {printable(why)}"
        self._status = self._console.status(self._doing)
        self._status.start()

    def on_metric(self, stage: "Stage", name: str, value: float, step: int) -> None:
        """See `Observer`."""
        if self._status is not None:
            self._status.update(f"{stage.name}  {printable(name)} {value:.4g} (step {step})")

    def on_message(self, stage: "Stage", text: str) -> None:
        """See `Observer`."""
        self._console.print(f"  {stage.name}: {printable(text)}", soft_wrap=True)

    def on_skip(self, stage: "Stage", artifact: "Artifact") -> None:
        """See `Observer`."""
        self._add(stage, artifact, "cached", f"· {stage.name:<{self._width}}  cached")

    def on_finish(self, stage: "Stage", artifact: "Artifact") -> None:
        """See `Observer`."""
        self._stop()
        memory = f"{artifact.peak_memory_mb:,.0f} MB"
        line = f"✓ {stage.name:<{self._width}}  {duration(artifact.seconds):>11}  {memory:>9}"
        self._add(stage, artifact, "ran", line)

    def on_fail(self, stage: "Stage", error: BaseException) -> None:
        """See `Observer`."""
        self._stop()
        what = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        self._console.print(f"✗ {stage.name:<{self._width}}  {what}")

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _add(self, stage: "Stage", artifact: "Artifact", state: str, line: str) -> None:
        self.stages.append(
            {
                "stage": stage.name,
                "state": state,
                "seconds": artifact.seconds,
                "peak_memory_mb": artifact.peak_memory_mb,
                "metrics": dict(artifact.metrics),
                "folder": str(artifact.folder),
            }
        )
        self._console.print(line)


class DownloadDisplay:
    """A progress bar for downloads on standard error; shown from the first report on."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
        self._progress = Progress(*columns, console=_console(error=True), transient=True)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "DownloadDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        if self._tasks:
            self._progress.stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Reports that `done` of `total` bytes are there."""
        # Started late: a display that nothing was reported to prints nothing.
        self._progress.start()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(printable(what), total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)


def print_metrics(metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Every figure of every stage."""
    rows = [[stage, name, f"{value:.4f}"] for stage, values in metrics.items() for name, value in values.items()]
    print_table(["stage", "metric", "value"], rows, right=["value"])


def print_file(path: Path) -> None:
    """A text file, as it is."""
    _console().print(path.read_text(encoding="utf-8").rstrip(), soft_wrap=True)
