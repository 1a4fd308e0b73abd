"""What a stage is and what it sees while it runs.

Stage modules import this file and not the graph, so that a change to the graph leaves their outputs valid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Metrics", "Stage", "StageContext"]

Metrics = Mapping[str, float]


def _ignore_metric(name: str, value: float, step: int) -> None:
    """Nobody listens."""


def _ignore_message(text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class StageContext:
    """All that a running stage may touch.

    Attributes:
        inputs: folder of each input stage's output, by stage name; to be read only.
        folder: an empty folder; what is left in it becomes the output.
        scratch: an empty folder that is thrown away.
        seed: the stage's seed.
        log: takes a point of a curve: name, value, step.
        say: takes a line for whoever watches.
        unfinished: a folder, perhaps not there yet, that the next run with the same key finds as this one left it when
            it was killed.
    """

    inputs: Mapping[str, Path]
    folder: Path
    scratch: Path
    seed: int = 0
    log: Callable[[str, float, int], None] = _ignore_metric
    say: Callable[[str], None] = _ignore_message
    unfinished: Path | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A pure function from a slice of the configuration, files and other stages' outputs to a folder.

    Everything but `run` decides whether the output on disk is still the right one.

    Attributes:
        name: lower-case words, `.` between family and member: `recall.itemcf`.
        run: fills `context.folder`; returns metrics of the whole stage, or nothing.
        config: the part of the configuration it depends on: a settings model or JSON-able value. Nest it the way the
            configuration file does, and changes are reported by their full path.
        inputs: names of the stages it reads.
        modules: entry modules; the sources of all they import from first-party packages count.
        files: outside files and folders it reads; their contents count.
        seed: seed of its randomness.
    """

    name: str
    run: Callable[[StageContext], Metrics | None]
    config: object = None
    inputs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    files: tuple[Path, ...] = field(default=())
    seed: int = 0
