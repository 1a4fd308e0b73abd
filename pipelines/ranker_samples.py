"""What a ranker learns from: the groups of a window, encoded in memory, or into files when they are too many."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.candidates import GroupedRequests
from pipelines.inputs import Features, Log, context_log, encoded_queries
from pipelines.stage import StageContext
from recsys.config import Config
from recsys.errors import DataError
from recsys.features.assemble import Assembler
from recsys.features.batch import InputSpec
from recsys.features.history import Histories
from recsys.features.rows import log_inputs
from recsys.ranking.configs import RankingConfig
from recsys.ranking.settings.samples import SYNTHETIC

if TYPE_CHECKING:
    from recsys.training.batches import Samples, SampleSource
    from recsys.training.group_files import GroupColumns
    from recsys.training.stream import Stream

__all__ = ["SampleParts", "SamplesInMemory", "Scores", "Window", "sample_parts", "sample_windows", "samples_in_memory"]

Scores = NDArray[np.float32]

SampleParts: TypeAlias = "tuple[SampleSource, SampleSource, SampleSource | None]"
"""What fits, what validates, and both when the ranker is fitted on them in the end."""
SamplesInMemory: TypeAlias = "tuple[Samples, Samples, Samples | None]"
_GROUPS_A_BUFFER = 16
"""Groups of rows that a shuffle buffer holds: enough for batches that are well mixed."""

_NOTHING = {
    "train": {
        "events": "the recall and rank windows hold no labelled row to learn from; check data.interactions.exposed",
        "candidates": "no request of the rank window has a positive among its candidates, so there is nothing to learn "
        "from; raise split.rank or fusion.candidates, or add routes",
    },
    "valid": {
        "events": "the valid window holds no labelled row to stop training by; raise split.valid",
        "candidates": "no request of the valid window has a positive to stop training by; raise split.valid",
    },
}
"""What to say where a part of the samples is empty."""


@dataclass(frozen=True, slots=True)
class Window:
    """The groups of a window, encoded when they are asked for.

    Attributes:
        grouped: what the candidates stage made.
        labels: of it.
        histories: visible events.
        features: encoded users and items.
        context: the log, if there is context to encode.
        assembler: of the model's inputs.
        rows_only: whether the log has no items: inputs are then those of its rows.
        ranking: how groups are batched.
    """

    grouped: GroupedRequests
    labels: Scores
    histories: Histories
    features: Features
    context: pa.Table | None
    assembler: Assembler
    ranking: RankingConfig
    rows_only: bool = False

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
        if self.rows_only:
            assert self.context is not None
            queries = encoded_queries(requests, self.histories, self.features, None)
            given = log_inputs(self.features.encoder, self.context, codes)
        else:
            queries = encoded_queries(requests, self.histories, self.features, self.context)
            given = {name: values[rows] for name, values in grouped.route.items()}
        inputs = self.assembler.inputs(queries, codes, given)
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


def sample_windows(
    config: Config, ranking: RankingConfig, context: StageContext, features: Features, spec: InputSpec
) -> tuple[Window, Window]:
    """What the ranker learns from, and what it is validated on.

    Raises:
        DataError: one of them holds no candidate.
    """
    histories = Log.load(context.inputs["split"]).histories(config)
    log, rows_only = context_log(features, context.inputs["ingest"]), config.data.rows_only
    assembler = Assembler(None if rows_only else features.item, spec)
    parts = [GroupedRequests.load(context.inputs["candidates"] / part) for part in ("train", "valid")]
    for name, part in zip(("train", "valid"), parts, strict=True):
        if not (part.groups.codes >= 0).any():
            raise DataError(f"ranking: {_NOTHING[name][ranking.samples.kind]}")
    train, valid = (
        Window(part, part.labels, histories, features, log, assembler, ranking, rows_only) for part in parts
    )
    return train, valid


def sample_parts(
    ranking: RankingConfig, windows: tuple[Window, Window], context: StageContext, *, again: bool
) -> SampleParts:
    """The samples of both windows, and if `again` of both together: in files where they are more than `memory_mb`."""
    memory = int(ranking.memory_mb * 2**20)
    size = sum(window.row_bytes * len(window.labels) for window in windows)
    if size <= memory or ranking.teacher is not None or ranking.samples.hard_negatives or _makes_up(ranking):
        return samples_in_memory(ranking, windows, context.seed, again=again)
    context.say(f"ranking: streaming {size / 2**20:,.0f} MB of samples, as ranking.memory_mb is {ranking.memory_mb:g}")
    return _on_disk(ranking, windows, context.scratch, memory // 2, again=again)


def samples_in_memory(
    ranking: RankingConfig, windows: tuple[Window, Window], seed: int, *, again: bool
) -> SamplesInMemory:
    """The samples of both windows, and if `again` of both together."""
    from recsys.training.batches import joined

    fitting, validation = _with_synthetic(ranking, windows[0].samples(), seed), windows[1].samples()
    return fitting, validation, joined(fitting, validation) if again else None


def _on_disk(
    ranking: RankingConfig, windows: tuple[Window, Window], folder: Path, buffer: int, *, again: bool
) -> "tuple[Stream, Stream, Stream | None]":
    from recsys.training.stream import Stream

    paths = [folder / "train.parquet", folder / "valid.parquet"]
    for window, path in zip(windows, paths, strict=True):
        window.write(path, windows[0].columns, buffer // _GROUPS_A_BUFFER)
    size, pool = ranking.training.batch_size, ranking.samples.length_pool

    def stream(files: list[Path]) -> Stream:
        return Stream(files, windows[0].columns, size, buffer=buffer, pool=pool)

    return stream(paths[:1]), stream(paths[1:]), stream(paths) if again else None


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
