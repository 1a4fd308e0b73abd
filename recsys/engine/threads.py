"""A large batch, a chunk at a time on every core."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_chunks"]

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def map_chunks(work: Callable[[Chunk], Result], chunks: Sequence[Chunk]) -> list[Result]:
    """What `work` gives for each chunk, in their order; the first error is raised.

    One chunk is worked on in the thread that calls: what answers a request starts no others. For work that lets go of
    the interpreter, as numpy, scipy, FAISS and onnxruntime do.
    """
    if len(chunks) < 2:
        return [work(chunk) for chunk in chunks]
    with ThreadPoolExecutor(min(len(chunks), _cores())) as pool:
        return list(pool.map(work, chunks))


def _cores() -> int:
    """Those this process may run on, where the system says which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
