"""The files of a table, and of a log that comes as train, valid and test files, the window of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from recsys.data.config import InteractionsConfig, TableConfig
from recsys.data.files import find_files
from recsys.data.tables import WINDOWS

__all__ = ["described", "window_files"]

_WINDOW: dict[Literal["train", "valid", "test"], int] = {
    "train": WINDOWS.index("recall"),
    "valid": WINDOWS.index("valid"),
    "test": WINDOWS.index("test"),
}


def window_files(config: TableConfig, table: str) -> list[tuple[Path, int | None]]:
    """The files of a table in the order they are read, each with the position of its window in `WINDOWS`.

    `None` where the files do not say the window.

    Raises:
        DataError: there is no such file.
    """
    return [(path, window) for window, part in _parts(config) for path in find_files(part, table)]


def described(config: TableConfig) -> str:
    """What the configuration calls the files, for messages."""
    return ", ".join(part.path for _, part in _parts(config))


def _parts(config: TableConfig) -> Iterator[tuple[int | None, TableConfig]]:
    files = config.files if isinstance(config, InteractionsConfig) else None
    if not files:
        yield None, config
        return
    for name, window in _WINDOW.items():
        yield window, config.model_copy(update={"path": files[name], "files": None})
