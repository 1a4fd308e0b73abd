"""Named arrays in a folder, memory-mapped when read, so that processes share them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from recsys.errors import ArtifactError
from recsys.features.batch import Arrays

__all__ = ["load_arrays", "save_arrays"]

_NAMES = "arrays.json"


def save_arrays(folder: Path, arrays: Arrays) -> None:
    """Writes one `.npy` an array and a list of their names into a folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    # Files are numbered: a column may be named in any alphabet, with slashes.
    for number, values in enumerate(arrays.values()):
        np.save(folder / f"{number}.npy", np.ascontiguousarray(values), allow_pickle=False)
    (folder / _NAMES).write_text(json.dumps(list(arrays), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def load_arrays(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What `save_arrays` wrote, in the same order.

    Raises:
        ArtifactError: a file is missing or unreadable.
    """
    try:
        names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
        # A plain view of the mapped pages: np.memmap itself makes every small gather slower.
        return {
            name: np.asarray(np.load(folder / f"{number}.npy", mmap_mode="r", allow_pickle=False))
            for number, name in enumerate(names)
        }
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(f"{folder}: cannot be read ({error}); run the stage that wrote it again") from error
