"""The two fits of a route, and what their stage and its declaration both read of a configuration."""

from typing import Literal

from recsys.config import Config
from recsys.data.config import ColumnConfig, ColumnKind
from recsys.data.split_config import RANK, RECALL, VALID

__all__ = ["WINDOWS", "Phase", "item_kinds", "served"]

Phase = Literal["recall", "refit"]
WINDOWS: dict[Phase, tuple[int, ...]] = {"recall": (RECALL,), "refit": (RECALL, RANK, VALID)}
"""Whose events a route is fitted on."""


def served(config: Config) -> Phase:
    """Which fit of the routes is served: the last one."""
    return "recall" if config.refit == "none" else "refit"


def item_kinds(config: Config) -> dict[str, ColumnKind]:
    """What the columns of the items table hold."""
    columns = config.data.items.columns if config.data.items else {}
    return {name: column.kind if isinstance(column, ColumnConfig) else column for name, column in columns.items()}
