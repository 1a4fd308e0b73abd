"""Where a training run stands, on disk: a run that was killed goes on to the same weights as if it had not been."""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import torch

__all__ = ["Checkpoints"]

_FILE = "training.pt"


class Checkpoints:
    """The last state of a training run, written from time to time.

    A file is written beside the last one, flushed to the disk and renamed: what is there is whole. It is read without
    unpickling objects (`weights_only`).

    Args:
        folder: of this one run and no other; made when needed. Two runs that differ in data, model or settings must not
            share it.
        minutes: between two states; 0 writes every one that is offered.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self._path = folder / _FILE
        self._seconds = 60 * minutes
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last state is old enough for another."""
        return time.monotonic() - self._last >= self._seconds

    def save(self, state: dict[str, Any]) -> None:
        """Writes a state of tensors, numbers, text, lists and mappings."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".tmp")
        with written.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._path)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last state; nothing when there is none that can be read: the run then starts anew, to the same end."""
        try:
            state: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
            return None
        return state

    def clear(self) -> None:
        """Removes the last state: the run is over."""
        self._path.unlink(missing_ok=True)
