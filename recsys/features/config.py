"""How columns become model inputs."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from recsys.data.config import ColumnKind, DataConfig, TableSide
from recsys.settings import Settings

__all__ = ["FeaturesConfig", "HistoryConfig", "Transform", "chosen_features"]


class _Transform(Settings):
    column: str | None = None
    """The column that is read; `null`: the one of the feature's own name. Lets one column become several features."""


class Categorical(_Transform):
    """One embedding row a value; row 0 is padding, row 1 out-of-vocabulary."""

    kind: Literal["categorical"]
    min_count: PositiveInt = 1
    """Rarer values share the out-of-vocabulary row."""


class MultiCategorical(_Transform):
    """A set of values; the first `max_length` are kept, padded with row 0."""

    kind: Literal["multi_categorical"]
    min_count: PositiveInt = 1
    """Rarer values share the out-of-vocabulary row."""
    max_length: PositiveInt = 16
    """Further values of a row are left out."""


class Hashed(_Transform):
    """A stable 64-bit hash into `buckets` rows (after rows 0 and 1); needs no vocabulary."""

    kind: Literal["hashed"]
    buckets: PositiveInt = 2**16
    """Rows; values that meet in one share it."""


class Standard(_Transform):
    """(x − mean) / standard deviation; missing and infinite values become the mean."""

    kind: Literal["standard"]


class MinMax(_Transform):
    """(x − min) / (max − min), clipped to [0, 1]; missing becomes the fitted mean."""

    kind: Literal["min_max"]


class Log(_Transform):
    """sign(x)·log1p(|x|), then standardised."""

    kind: Literal["log"]


class Quantile(_Transform):
    """Equal-frequency buckets with an embedding row each; missing is row 1."""

    kind: Literal["quantile"]
    buckets: PositiveInt = 10
    """Of about as many values each."""


class TimePart(_Transform):
    """A part of a UTC timestamp as a category."""

    kind: Literal["time"]
    part: Literal["hour", "weekday", "day", "month", "year"] = "hour"
    """Which part."""


Transform = Annotated[
    Categorical | MultiCategorical | Hashed | Standard | MinMax | Log | Quantile | TimePart, Field(discriminator="kind")
]


class HistoryConfig(Settings):
    """The user's past items, as of the request."""

    length: PositiveInt = 50
    """The most recent items a model sees; routes and seen-item filters see them all."""
    fields: tuple[str, ...] = ("item_id",)
    """Item fields a sequence model reads for each past item; none where the log has no items."""


class FeaturesConfig(Settings):
    """Model inputs by side. A side left `null` takes every column of its table with the default transform of its kind.

    The items' side then takes `item_id` too. Defaults: categorical → categorical, multi_categorical →
    multi_categorical, numeric → standard, timestamp → time(hour); text columns are never inputs by themselves.
    `user_id` and `item_id` may be named like columns.
    """

    user: dict[str, Transform] | None = None
    """Of the users table, by name."""
    item: dict[str, Transform] | None = None
    """Of the items table, by name."""
    context: dict[str, Transform] | None = None
    """Of the log's context columns, by name."""
    history: HistoryConfig = HistoryConfig()
    """What the user did before."""


def chosen_features(config: FeaturesConfig, data: DataConfig, side: TableSide) -> dict[str, Transform]:
    """The features of a side by name: those that are named, else the defaults of its columns."""
    named: dict[str, Transform] | None = getattr(config, side)
    if named is not None:
        return named
    ids: dict[str, ColumnKind] = {"item_id": "categorical"} if side == "item" and not data.rows_only else {}
    kinds = ids | data.column_kinds(side)
    return {name: _default(kind) for name, kind in kinds.items() if kind != "text"}


def _default(kind: ColumnKind) -> Transform:
    match kind:
        case "numeric":
            return Standard(kind="standard")
        case "multi_categorical":
            return MultiCategorical(kind="multi_categorical")
        case "timestamp":
            return TimePart(kind="time")
        case _:
            return Categorical(kind="categorical")
