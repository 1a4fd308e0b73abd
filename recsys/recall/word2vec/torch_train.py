"""The same training through torch in large batches, for a GPU.

A batch takes the place of many steps, so a row that occurs often in it, such as the root of the Huffman tree, would
move by the sum of errors that its first change already corrects. Where a row occurs more than `_REPEATS` times, it
moves by so many times its mean change; others move as step by step.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.recall.word2vec.kernels import Plan, Slice, rate_at

__all__ = ["TorchTrainer", "has_cuda"]

_BATCH = 1 << 14
"""Centre–context pairs, or centres of CBOW, in a step."""
_REPEATS = 32.0
"""Occurrences of a row in a batch whose changes add up."""


def has_cuda() -> bool:
    """Whether torch sees a GPU."""
    return torch.cuda.is_available()


class TorchTrainer:
    """Both tables and everything drawn lie on the device.

    A batch takes about `_BATCH` · (contexts + targets) · D float32 numbers there. CPU results depend on the seed and on
    how the corpus is cut; a GPU adds in any order.
    """

    def __init__(
        self, plan: Plan, inputs: NDArray[np.float32], outputs: NDArray[np.float32], *, device: str, seed: int
    ) -> None:
        self._plan = plan
        self._device = torch.device(device)
        self._inputs = self._there(inputs)
        self._outputs = self._there(outputs)
        self._keep = self._there(plan.keep)
        self._thresholds = self._there(plan.alias[:, 0].astype(np.float64) / 2.0**32)
        self._aliases = self._there(plan.alias[:, 1].astype(np.int64))
        self._offsets = self._there(plan.path_offsets)
        self._nodes = self._there(plan.path_nodes.astype(np.int64))
        self._turns = self._there(plan.path_turns)
        self._random = torch.Generator(self._device).manual_seed(seed)

    def epoch(self, parts: Iterator[Slice]) -> None:
        """One pass."""
        for part in parts:
            rate = rate_at(self._plan, part.done + int(part.offsets[0]))
            centres, contexts, present = self._examples(part)
            order = torch.randperm(len(centres), generator=self._random, device=self._device)
            for begin in range(0, len(order), _BATCH):
                rows = order[begin : begin + _BATCH]
                self._step(centres[rows], contexts[rows], present[rows], rate)

    def tables(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Input and output vectors."""
        return self._inputs.cpu().numpy(), self._outputs.cpu().numpy()

    def _there(self, array: NDArray[np.generic]) -> Tensor:
        return torch.tensor(array, device=self._device)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._random, device=self._device, dtype=torch.float64)

    def _below(self, size: int, *shape: int) -> Tensor:
        return torch.randint(size, shape, generator=self._random, device=self._device)

    def _examples(self, part: Slice) -> tuple[Tensor, Tensor, Tensor]:
        """`(P,)` centres, `(P, C)` their contexts and which are there; C is 1 for skip-gram."""
        tokens, sequences = self._kept(part)
        window, size = self._plan.window, len(tokens)
        shifts = torch.tensor([s for s in range(-window, window + 1) if s], device=self._device)
        reach = self._below(window, size, 1) + 1 if self._plan.dynamic else torch.full_like(tokens[:, None], window)
        places = torch.arange(size, device=self._device)[:, None] + shifts
        inside = places.clamp(0, max(size - 1, 0))
        there = (inside == places) & (shifts.abs() <= reach) & (sequences[inside] == sequences[:, None])
        if self._plan.cbow:
            some = there.any(dim=1)
            return tokens[some], tokens[inside[some]], there[some]
        centre, column = there.nonzero(as_tuple=True)
        contexts = tokens[inside[centre, column]][:, None]
        return tokens[centre], contexts, torch.ones_like(contexts, dtype=torch.bool)

    def _kept(self, part: Slice) -> tuple[Tensor, Tensor]:
        """Tokens left after subsampling, and the sequence of each."""
        tokens = self._there(part.tokens[part.offsets[0] : part.offsets[-1]].astype(np.int64))
        lengths = self._there(np.diff(part.offsets))
        sequences = torch.repeat_interleave(torch.arange(len(lengths), device=self._device), lengths)
        kept = self._uniform(len(tokens)) < self._keep[tokens]
        return tokens[kept], sequences[kept]

    def _step(self, centres: Tensor, contexts: Tensor, present: Tensor, rate: float) -> None:
        """The gradient step of a batch, rows that occur often held back."""
        rows, labels, asked = self._path(centres) if self._plan.hierarchical else self._drawn(centres)
        share = present / present.sum(dim=1, keepdim=True)
        hidden = torch.einsum("pc,pcd->pd", share, self._inputs[contexts])
        targets = self._outputs[rows]
        products = torch.einsum("pd,ptd->pt", hidden, targets)
        errors = (labels - torch.sigmoid(products)) * asked * rate
        change = torch.einsum("pt,ptd->pd", errors, targets)
        _add(self._outputs, rows, errors[..., None] * hidden[:, None, :], asked)
        _add(self._inputs, contexts, present[..., None] * change[:, None, :], present)

    def _drawn(self, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(P, 1 + n)` output rows of each centre and its negatives, their labels, and which count."""
        shape = (len(centres), self._plan.negatives)
        cells = self._below(len(self._aliases), *shape)
        negatives = torch.where(self._uniform(*shape) < self._thresholds[cells], cells, self._aliases[cells])
        rows = torch.cat([centres[:, None], negatives], dim=1)
        first = torch.arange(rows.shape[1], device=self._device) == 0
        return rows, first.float().expand(rows.shape), first | (rows != centres[:, None])

    def _path(self, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(P, T)` inner nodes on the way to each centre, the turns there, and which count; T is the longest way."""
        begin = self._offsets[centres]
        lengths = self._offsets[centres + 1] - begin
        steps = torch.arange(int(lengths.max()), device=self._device)
        asked = steps < lengths[:, None]
        places = torch.where(asked, begin[:, None] + steps, 0)
        return self._nodes[places], self._turns[places], asked


def _add(table: Tensor, rows: Tensor, changes: Tensor, counted: Tensor) -> None:
    """Adds `(…, D)` changes to the rows, where counted; those of rows that occur often are made smaller."""
    flat = rows.flatten()
    occurrences = torch.zeros(len(table), device=table.device).index_add_(0, flat, counted.flatten().float())
    share = _REPEATS / occurrences.clamp(min=_REPEATS)
    table.index_add_(0, flat, changes.flatten(end_dim=-2) * share[flat, None])
