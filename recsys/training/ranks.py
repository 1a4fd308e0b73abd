"""Several devices: a process for each, which takes its share of the batches, and gradients averaged between them.

What torch's own wrapper of a model does, but for embedding tables with sparse gradients, of which it knows nothing, and
for losses that ask for gradients themselves. The process that trains is the first; it starts the others, which need
the model, the loss and the batches and nothing else: validation, curves and checkpoints stay where they are.
"""

import multiprocessing
import pickle
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store

from recsys.errors import ConfigError, TrainingError
from recsys.training.rows import summed

__all__ = ["Ranks", "crew"]

T = TypeVar("T")

_HOST = "127.0.0.1"
_PATIENCE = timedelta(days=1)
"""The first process may validate for long while the others wait; one that dies ends the wait by its closed socket."""
_START_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Ranks:
    """A process among those that train a model together. One by itself agrees with itself.

    Every method has to be called by all of them, in the same order.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def any(self, flag: bool) -> bool:
        """Whether it is so for any of them."""
        if self.size == 1:
            return flag
        found = torch.tensor(float(flag))
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found)

    def mean(self, value: float) -> float:
        """The mean of what they have."""
        return sum(self.gather(value)) / self.size

    def first(self, value: T) -> T:
        """What the first of them has."""
        return self.gather(value)[0]

    def gather(self, value: T) -> list[T]:
        """What each of them has."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def average(self, parameters: Sequence[Tensor], buffers: Iterable[Tensor]) -> None:
        """Gives all of them the mean of their gradients, and the first one's buffers.

        A gradient that some do not have counts as zero there.
        """
        if self.size == 1:
            return
        kinds = torch.tensor([_kind(parameter.grad) for parameter in parameters], dtype=torch.int8)
        dist.all_reduce(kinds, dist.ReduceOp.MAX)
        marked = list(zip(parameters, kinds.tolist(), strict=True))
        self._average_dense([parameter for parameter, kind in marked if kind == _DENSE])
        for parameter, kind in marked:
            if kind == _SPARSE:
                self._average_sparse(parameter)
        own = list(buffers)
        if own:
            flat = torch.cat([buffer.flatten() for buffer in own])
            dist.broadcast(flat, 0)
            _spread(flat, own)

    def _average_dense(self, parameters: Sequence[Tensor]) -> None:
        if not parameters:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        _spread(flat / self.size, gradients)

    def _average_sparse(self, table: Tensor) -> None:
        """Rows of all of them, one after another: what reads the gradient adds up those it finds more than once."""
        if table.grad is None:
            rows = torch.zeros(0, dtype=torch.int64, device=table.device)
            values = table.new_zeros(0, table.shape[1])
        else:
            own = summed(table.grad)
            rows, values = own.indices()[0], own.values()
        counts = self.gather(len(rows))
        longest = max(counts)
        all_rows = self._stacked(_padded(rows, longest), counts)
        all_values = self._stacked(_padded(values, longest), counts) / self.size
        table.grad = torch.sparse_coo_tensor(all_rows.unsqueeze(0), all_values, table.shape, check_invariants=False)

    def _stacked(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        found = [torch.empty_like(own) for _ in counts]
        dist.all_gather(found, own)
        return torch.cat([part[:count] for part, count in zip(found, counts, strict=True)])


_DENSE, _SPARSE = 1, 2


def _kind(gradient: Tensor | None) -> int:
    return 0 if gradient is None else _SPARSE if gradient.is_sparse else _DENSE


@torch.no_grad()
def _spread(flat: Tensor, places: Sequence[Tensor]) -> None:
    for place, part in zip(places, torch.split(flat, [place.numel() for place in places]), strict=True):
        place.copy_(part.view_as(place))


def _padded(values: Tensor, length: int) -> Tensor:
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])


Work = Callable[[Ranks, Any], None]


@contextmanager
def crew(size: int, work: Work, parts: object, *, cuda: bool) -> Iterator[Ranks]:
    """The first of `size` processes inside; the others do `work(ranks, parts)`, and are gone afterwards.

    Args:
        size: how many; with 1 there are no others.
        work: a function of a module.
        parts: a copy goes to each of the others.
        cuda: whether tensors are on GPUs.

    Raises:
        ConfigError: `parts` cannot be sent to another process.
        TrainingError: one of the others failed or was killed.
    """
    if size == 1:
        yield Ranks()
        return
    payload = _packed(parts)
    store = _store(0, size, first=True)
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    # A process that has loaded FAISS hangs when it is forked.
    start = multiprocessing.get_context("spawn").Process
    others = [
        start(target=_other, args=(work, payload, store.port, rank, size, backend), daemon=True)
        for rank in range(1, size)
    ]
    try:
        for other in others:
            other.start()
        _await(store, others)
        with _joined(store, Ranks(0, size), backend), _blamed(store, others):
            yield Ranks(0, size)
        for other in others:
            other.join(60)
    finally:
        for other in others:
            if other.pid is not None:
                other.kill()
                other.join()


def _packed(parts: object) -> bytes:
    try:
        return pickle.dumps(parts)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"training.trainer.devices: several devices need a model, a loss and batches that can be sent to other "
            f"processes, but {error}; use devices: 1"
        ) from error


def _other(work: Work, payload: bytes, port: int, rank: int, size: int, backend: str) -> None:
    """What each of the others runs."""
    # Ctrl-C goes to all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    store = _store(port, size, first=False)
    try:
        parts = pickle.loads(payload)
        store.set(f"ready/{rank}", "1")
        with _joined(store, Ranks(rank, size), backend):
            work(Ranks(rank, size), parts)
    except Exception as error:
        # Without the first process there is nobody to tell.
        with suppress(RuntimeError):
            store.set(f"error/{rank}", f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _store(port: int, size: int, *, first: bool) -> Any:  # noqa: ANN401  a `Store` with a `port`
    """Where processes find one another; port 0 takes a free one."""
    return dist.TCPStore(_HOST, port, size, is_master=first, wait_for_workers=False)  # type: ignore[attr-defined]


@contextmanager
def _joined(store: Store, ranks: Ranks, backend: str) -> Iterator[None]:
    dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def _blamed(store: Store, others: Sequence[BaseProcess]) -> Iterator[None]:
    """When one of the others is gone, the first one's sockets fail: what is said is why it went."""
    try:
        yield
    except RuntimeError as error:
        failure = _failure(store, others)
        if not failure:
            raise
        raise TrainingError(failure) from error


def _await(store: Store, others: Sequence[BaseProcess]) -> None:
    """Returns when all of the others have begun."""
    end = time.monotonic() + _START_SECONDS
    while not store.check([f"ready/{rank}" for rank in range(1, len(others) + 1)]):
        if any(other.exitcode is not None for other in others) or time.monotonic() > end:
            raise TrainingError(_failure(store, others) or f"a process did not begin within {_START_SECONDS:g} s")
        time.sleep(0.02)


def _failure(store: Store, others: Sequence[BaseProcess]) -> str:
    """What became of the others; nothing when all are well."""
    for other in others:
        other.join(1)
    for rank, other in enumerate(others, start=1):
        key = f"error/{rank}"
        if store.check([key]):
            return f"device {rank + 1} of {len(others) + 1} failed: {store.get(key).decode()}"
        if other.exitcode:
            return (
                f"the process of device {rank + 1} of {len(others) + 1} ended with code {other.exitcode}; if it was "
                "killed for its memory, use fewer devices: each has a copy of the samples"
            )
    return ""
