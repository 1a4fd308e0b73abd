"""What the user says about their files: where the tables are and which column plays which part."""

import codecs
from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from recsys.settings import Settings

__all__ = [
    "NULL_VALUES",
    "ColumnConfig",
    "ColumnKind",
    "DataConfig",
    "EntityConfig",
    "InteractionsConfig",
    "ItemsConfig",
    "PositiveConfig",
    "TableConfig",
    "TableSide",
    "TimestampOffset",
    "TimestampUnit",
    "UsersConfig",
]

ColumnKind = Literal["categorical", "multi_categorical", "numeric", "text", "timestamp"]
TableSide = Literal["user", "item", "context"]
"""Whose columns: of the users table, of the items table, or those of the log known when the request is made."""
TimestampUnit = Literal["auto", "s", "ms", "us", "ns", "text", "yyyymmdd", "yyyymmddhhmm", "yyyymmddhhmmss", "excel"]
NULL_VALUES = ("", "NULL", "\\N", "NaN", "NA", "N/A", "#N/A", "<NA>", "None", "undefined")


class ColumnConfig(Settings):
    """How one feature column is read."""

    kind: ColumnKind
    """What the values are."""
    separator: str = " "
    """Splits a `multi_categorical` cell of text; `"[]"` is a list as JSON or Python writes it (`["a", "b"]`). Lists of
    Parquet and JSON lines need none."""
    unit: TimestampUnit = "auto"
    """Of a `timestamp` column; see `interactions.timestamp_unit`."""


Columns = dict[str, ColumnKind | ColumnConfig]


class TableConfig(Settings):
    """A file of rows (CSV, TSV, JSON lines, Parquet or Excel), a folder of them, or a glob."""

    path: str
    """Relative to where the command runs."""
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "excel"] = "auto"
    """`auto` goes by the extension."""
    header: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the columns of a file without a header line; `null`: the first line names them."""
    delimiter: Annotated[str, Field(min_length=1)] | None = None
    """Text files only: one or more characters (`"::"`), or `blanks` for runs of blanks and tabs. `null` means: comma
    for .csv, tab for .tsv."""
    quoting: Literal["auto", "quotes", "none"] = "auto"
    """Whether `"` around a cell is syntax or text. `auto`: syntax if the delimiter is one character other than a tab;
    with tabs only if every quote in the file opens or closes a cell of one line; text otherwise."""
    encoding: str | None = None
    """Of text files, such as `latin-1`. `null`: by the byte order mark, else UTF-8, else recognised from the bytes."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers in text."""
    thousands: Literal[",", ".", " ", "'"] | None = None
    """The mark between groups of three digits of numbers in text."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                codecs.lookup(name)
            except LookupError:
                raise ValueError(
                    f"found the encoding {name!r}, expected a name that Python knows, such as utf-8, utf-16 or latin-1"
                ) from None
        return name

    @model_validator(mode="after")
    def _check_text_settings(self) -> Self:
        twice = [name for name, count in Counter(self.header or ()).items() if count > 1]
        if twice:
            raise ValueError(f"header names {twice[0]!r} twice; expected each name once")
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; expected two different marks")
        if self.delimiter is not None and any(mark in self.delimiter for mark in '\r\n"'):
            raise ValueError(
                f"found the delimiter {self.delimiter!r}, expected characters without line breaks and quotes"
            )
        return self


class TimestampOffset(Settings):
    """What is added to the timestamp, as where one column holds the day and another the time since it began."""

    column: str
    """Of numbers, or with `unit: clock` of times of day."""
    unit: Literal["us", "ms", "s", "min", "h", "clock"] = "s"
    """Of the numbers; `clock` reads `14:05` and `14:05:09.250`."""


class InteractionsConfig(TableConfig):
    """The event log: who did what to which item, when."""

    path: str = ""
    """Relative to where the command runs. Leave it out where `files` is given."""
    files: dict[Literal["train", "valid", "test"], str] | None = None
    """A published split: `{train: a.csv, valid: b.csv, test: c.csv}`, each as `path`, for `split.kind: given`. Rows of
    `train` are the recall window."""
    user_id: str | None = "user_id"
    """Name of the column, as everywhere here. `null` together with `item_id`: a click log of labelled rows whose inputs
    are the `context` columns. Such a pipeline has `routes: {}` and a ranker; its bundle scores rows."""
    item_id: str | None = "item_id"
    """Name of the column; `null` only together with `user_id`."""
    timestamp: str | None = "timestamp"
    """Of the event."""
    timestamp_unit: TimestampUnit = "auto"
    """`s`, `ms`, `us` and `ns` count from 1970, `excel` counts days as spreadsheets do (45254.5 is noon of 2023-11-24).

    `yyyymmdd`, `yyyymmddhhmm` and `yyyymmddhhmmss` are dates written as one number, `text` is any other written date.
    `auto` tells text from numbers, and the unit of numbers by their size; a time outside 1971 to 2100 is refused then.
    """
    timestamp_offset: TimestampOffset | None = None
    """Added to the timestamp: a time within the day or the session, in a column of its own."""
    labels: tuple[str, ...] = ()
    """Numeric label columns: click, rating, watch time, order value."""
    context: Columns = Field(default_factory=dict)
    """Columns known when the request is made: device, hour, place."""
    request_id: str | None = None
    """One list that was shown: the rows of a request are judged together."""
    exposed: str | None = None
    """1 where the item was shown."""
    position: str | None = None
    """Place in the list that was shown, from 1."""
    propensity: str | None = None
    """Probability that the place was looked at."""
    window: str | None = None
    """Which window a row belongs to (recall, rank, valid or test), for `split.kind: given`."""


class EntityConfig(TableConfig):
    """A table of users or items: a file with one row each, or columns of the log."""

    path: str = ""
    """Relative to where the command runs. Leave it out with `from: interactions`."""
    source: Literal["interactions"] | None = Field(default=None, alias="from")
    """`interactions`: there is no file, the columns stand in every row of the log. An id takes the most frequent of its
    values, of equally frequent ones that of the earliest row."""
    max_varying_share: Annotated[float, Field(ge=0, le=1)] = 0.02
    """With `from: interactions`, the share of rows that may hold another value than the most frequent of their id. A
    column that varies more is refused: it changes over time, and its later values would explain earlier events."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if bool(self.path) == (self.source is not None):
            found = "both path and from" if self.path else "neither path nor from"
            raise ValueError(f"found {found}; expected path: a file, or from: interactions, columns of the log")
        own = [
            name for name in (*TableConfig.model_fields, "user_id", "item_id") if name != "path" and _set(self, name)
        ]
        if self.source is not None and own:
            raise ValueError(
                f"found from: interactions and {own[0]}; the columns are read as the log is, so leave {own[0]} out"
            )
        if self.source is None and _set(self, "max_varying_share"):
            raise ValueError("found max_varying_share and a path; it is a setting of from: interactions, leave it out")
        return self


def _set(config: TableConfig, name: str) -> bool:
    """Whether a setting is there and differs from its default: a configuration that is printed names all of them."""
    field = type(config).model_fields.get(name)
    return field is not None and getattr(config, name) != field.default


class UsersConfig(EntityConfig):
    """One row a user."""

    user_id: str = "user_id"
    """Name of the column."""
    columns: Columns = Field(default_factory=dict)
    """Feature columns by name."""


class ItemsConfig(EntityConfig):
    """One row an item."""

    item_id: str = "item_id"
    """Name of the column."""
    columns: Columns = Field(default_factory=dict)
    """Feature columns by name."""
    title: str | None = None
    """The text column shown to people; never a model input by itself."""


class PositiveConfig(Settings):
    """An event is a positive when this label reaches this value."""

    label: str
    """One of `interactions.labels`."""
    at_least: float
    """The smallest value that counts."""


class DataConfig(Settings):
    """The three tables. Only `interactions` is required."""

    dataset: str | None = None
    """A public data set to download when the files below are missing: see `recsys data download --help`."""
    interactions: InteractionsConfig
    """Who did what to which item, when."""
    users: UsersConfig | None = None
    """What is known of users."""
    items: ItemsConfig | None = None
    """What is known of items."""
    order: Literal["timestamp", "row", "none"] = "timestamp"
    """What puts a user's events in order. With `none`, order-aware routes and time decay are refused."""
    duplicates: Literal["drop", "keep"] = "drop"
    """`drop` keeps the first of the rows that agree in user, item, timestamp and request. Of a log without users and
    items all rows are kept."""
    null_values: tuple[str, ...] = NULL_VALUES
    """What stands for a missing value in any column of any table, without regard to case and to blanks around it.

    An empty cell always does. A missing id, time or label rejects its row; a missing feature is a missing feature.
    """
    max_reject_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """A larger share of rejected rows stops the run."""
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Keep the whole log of this share of the users, for a first look; `recsys run --sample 1%` sets it. Of a log
    without users, this share of the rows, or of the lists of a `request_id`."""
    positive: PositiveConfig | None = None
    """`null`: every event is a positive."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        log = self.interactions
        _check_attributes(self)
        _check_sources(log)
        _check_ids(self)
        if self.order == "timestamp" and log.timestamp is None:
            raise ValueError(
                "order is timestamp but interactions.timestamp is null; expected order: row or order: none"
            )
        if self.positive is not None and self.positive.label not in log.labels:
            raise ValueError(
                f"positive.label is {self.positive.label!r}; expected one of interactions.labels: {list(log.labels)}"
            )
        parts = [part for part in ("request_id", "exposed", "position", "propensity", "window") if getattr(log, part)]
        # The time of an event may double as context, to become an hour or a weekday.
        context = [name for name in log.context if (name, log.timestamp) != ("timestamp", "timestamp")]
        ids = ["user_id", "item_id"] if log.item_id is not None else []
        names = Counter([*ids, "timestamp", "row", *parts, *log.labels, *context])
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"interactions: {twice[0]} is the name of two columns; expected each name once")
        if self.users and "user_id" in self.users.columns:
            raise ValueError("users.columns: user_id is there by itself; expected other columns")
        if self.items and "item_id" in self.items.columns:
            raise ValueError("items.columns: item_id is there by itself; expected other columns")
        return self

    @property
    def rows_only(self) -> bool:
        """Whether the log has neither users nor items: labelled rows, each of which is scored by its own columns."""
        return self.interactions.item_id is None

    def column_kinds(self, side: TableSide) -> dict[str, ColumnKind]:
        """The feature columns of a side, with their kinds."""
        columns = {
            "user": self.users.columns if self.users else {},
            "item": self.items.columns if self.items else {},
            "context": self.interactions.context,
        }[side]
        return {name: c.kind if isinstance(c, ColumnConfig) else c for name, c in columns.items()}


def _check_attributes(data: DataConfig) -> None:
    """Columns of the log that become users or items play no other part."""
    log = data.interactions
    roles: dict[str | None, str] = {log.user_id: "user_id", log.item_id: "item_id", log.timestamp: "timestamp"}
    roles |= {getattr(log, part): part for part in ("request_id", "exposed", "position", "propensity", "window")}
    roles.update({**dict.fromkeys(log.labels, "labels"), **dict.fromkeys(log.context, "context")})
    for key, table in (("users", data.users), ("items", data.items)):
        if table is None or table.source is None:
            continue
        title = table.title if isinstance(table, ItemsConfig) else None
        for name in filter(None, [*table.columns, title]):
            if name in roles:
                raise ValueError(
                    f"{key}: column {name} is in interactions.{roles[name]} already; expected it in one place: a "
                    f"label or what changes from event to event is no attribute of {key}"
                )
    if log.timestamp_offset is not None and log.timestamp is None:
        raise ValueError("interactions.timestamp_offset: found no timestamp to add it to; name its column")


def _check_sources(log: InteractionsConfig) -> None:
    if bool(log.path) == bool(log.files):
        found = "both path and files" if log.path else "neither path nor files"
        raise ValueError(f"interactions: found {found}; expected path, or files: {{train: …, valid: …, test: …}}")
    absent = [name for name in ("train", "valid", "test") if log.files and name not in log.files]
    if absent:
        raise ValueError(
            f"interactions.files: no {' and no '.join(absent)}; expected train, valid and test: rows to learn from, to "
            "stop training by, and to report on; cut the missing one from train, or use path and split.kind: random"
        )
    if log.files and log.window is not None:
        raise ValueError(
            f"interactions: found files and window: {log.window!r}; the files say the window, leave it out"
        )


def _check_ids(data: DataConfig) -> None:
    log = data.interactions
    if (log.user_id is None) != (log.item_id is None):
        absent, there = ("user_id", "item_id") if log.user_id is None else ("item_id", "user_id")
        raise ValueError(
            f"interactions.{absent} is null but {there} is {getattr(log, there)!r}; expected both or neither: without "
            f"{absent} nothing is recommended to anybody, so set {there}: null and name its column in context"
        )
    if log.item_id is not None:
        return
    for name in ("users", "items"):
        if getattr(data, name) is not None:
            raise ValueError(
                f"{name}: found a table, but interactions.user_id and item_id are null, so no row could be looked up "
                "in it; leave it out, or name the id columns"
            )
    if not log.context:
        raise ValueError(
            "interactions.context is empty, but user_id and item_id are null; expected the columns that a row is "
            "scored by, such as context: {C1: categorical, I1: numeric}"
        )
