"""How the C library hands out memory while a model is trained."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_memory"]

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Names that glibc's `mallopt` has for what may be set."""
_LARGE, _TRIMMED, _MAPPINGS = 2**30, 2**27, 65_536


@contextmanager
def kept_memory() -> Iterator[None]:
    """Memory that a step has freed is there for the next one, instead of going back to the system.

    A step's arrays are megabytes long. glibc asks the system for each of them and gives each back, and the system fills
    every one with zeros first, page by page: of a ranker with histories that is a third of the time. Does nothing where
    the C library is another. What was kept goes back at the end.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _LARGE)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _MAPPINGS)
        library.mallopt(_TRIM_THRESHOLD, _TRIMMED)
        library.malloc_trim(0)
