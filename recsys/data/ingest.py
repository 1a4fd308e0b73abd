"""From the user's files to the canonical tables: every row is kept, counted as a duplicate, or rejected with a reason."""

from pathlib import Path

from recsys.data.config import DataConfig

__all__ = ["ingest"]


def ingest(config: DataConfig, folder: Path) -> object:
    """Reads, checks and orders the tables, and writes them and `rejected.parquet` into `folder`."""
    raise NotImplementedError
