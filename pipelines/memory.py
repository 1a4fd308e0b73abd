"""Files that remember what is costly to find out again. One that cannot be written costs time later, nothing else."""

import contextlib
import json
import os
from pathlib import Path

__all__ = ["write_memory"]


def write_memory(path: Path, value: object) -> bool:
    """Writes JSON, so that a reader sees all of it or nothing; says whether it could."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(value))
        partial.replace(path)
    except OSError:
        # On a full disk even a part of it is in the way.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        return False
    return True
