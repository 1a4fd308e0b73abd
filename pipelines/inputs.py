"""What stages read of one another's outputs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.config import Config
from recsys.data.split import visible
from recsys.data.tables import Dataset, event_columns
from recsys.features.arrays import load_arrays
from recsys.features.batch import QueryBatch
from recsys.features.catalogue import Catalogue
from recsys.features.encoder import FeatureEncoder
from recsys.features.history import Events, Histories, Requests

__all__ = [
    "Features",
    "Log",
    "context_log",
    "encoded_queries",
    "labelled_rows",
    "lists",
    "request_queries",
    "task_positives",
    "withheld_length",
]


@dataclass(frozen=True, slots=True)
class Log:
    """What the split stage wrote: the coded log."""

    users: Catalogue
    items: Catalogue
    events: Events

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads it."""
        return cls(
            Catalogue.load(folder / "users.parquet"),
            Catalogue.load(folder / "items.parquet"),
            Events.load(folder / "events"),
        )

    def histories(self, config: Config) -> Histories:
        """Every event that may ever be seen, by user; of a log without users, none."""
        if config.data.rows_only:
            return Histories.none(1)
        return Histories.build(self.events, len(self.users), visible(self.events.window, config.split))

    def fitted_on(self, windows: tuple[int, ...]) -> Histories:
        """The positive events of these windows, by user: what a route is fitted on."""
        return Histories.build(self.events, len(self.users), np.isin(self.events.window, windows))


@dataclass(frozen=True, slots=True)
class Features:
    """What the features stage wrote: the fitted encoder, and every user and item encoded, by code."""

    encoder: FeatureEncoder
    user: dict[str, np.ndarray[Any, Any]]
    item: dict[str, np.ndarray[Any, Any]]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads it."""
        return cls(FeatureEncoder.load(folder / "encoder"), load_arrays(folder / "user"), load_arrays(folder / "item"))


def request_queries(requests: Requests, *, histories: Histories, features: Features, ingested: Path) -> QueryBatch:
    """Requests with the history, the user's features and the context they are asked with.

    Args:
        requests: Q requests; the context is that of each one's event.
        histories: visible events.
        features: encoded users.
        ingested: output of the ingest stage; read only when there is context to encode.
    """
    return encoded_queries(requests, histories, features, context_log(features, ingested))


def context_log(features: Features, ingested: Path) -> pa.Table | None:
    """The log, if there is context to encode."""
    return Dataset.load(ingested).interactions if features.encoder.fields("context") else None


def encoded_queries(
    requests: Requests, histories: Histories, features: Features, context: pa.Table | None
) -> QueryBatch:
    """What `request_queries` gives, of a log that was read before: see `context_log`."""
    history, lengths = histories.batch(requests.user, requests.as_of)
    known: dict[str, Any] = {name: values[requests.user] for name, values in features.user.items()}
    if context is not None:
        known |= features.encoder.encode("context", context.take(pa.array(requests.event)))
    return QueryBatch(history, lengths, known)


def task_positives(config: Config, ingested: Path) -> dict[str, NDArray[np.bool_]]:
    """Whether each event of the log is a positive of each of several tasks; nothing where there is one."""
    tasks = {} if config.ranking is None else config.ranking.tasks
    if not tasks:
        return {}
    labels = event_columns(ingested, *{task.label for task in tasks.values()})
    return {name: labels[task.label].to_numpy() >= task.at_least for name, task in tasks.items()}


def labelled_rows(log: Log, windows: tuple[int, ...], ingested: Path) -> NDArray[np.int64]:
    """Positions of the events of these windows that say something: those that were shown, and positives."""
    events = log.events
    wanted = np.isin(events.window, windows)
    shown = event_columns(ingested, "exposed")
    if shown:
        wanted &= shown["exposed"].to_numpy() | events.positive
    return np.flatnonzero(wanted)


def lists(ingested: Path, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which list each of these events was shown in, by `request_id`; without one each is a list of its own."""
    requests = event_columns(ingested, "request_id")
    if not requests:
        return np.arange(len(at))
    column = requests["request_id"].take(pa.array(at)).combine_chunks().dictionary_encode()
    codes: NDArray[np.int64] = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    # A row without an id is a list of its own.
    alone = codes < 0
    codes[alone] = len(column.dictionary) + np.arange(int(alone.sum()))
    return codes


def withheld_length(config: Config) -> int:
    """How many of the last items of a history are never recommended."""
    match config.policy.exclude_seen:
        case "never":
            return 0
        case "recent":
            return config.policy.recent
        case _:
            return int(np.iinfo(np.int32).max)
