"""The contract of every loss, and how it reduces.

    loss(scores, labels, *, mask=None, weight=None, reduction="mean")

`scores` and `labels` are `(B, C)` or `(B, C, T)`: requests, candidates, tasks; scores are logits, labels not negative.
`mask` `(B, C)` is true at real candidates: whatever stands at the others, NaN included, changes neither the loss nor a
gradient. `weight` `(B, C)`, not negative, says how much each entry counts; where entries are compared it is the
preferred one's that says how much the comparison counts (Joachims 2017, equation 4). `reduction`: `none` gives one
value an entry, weighted, 0 where masked; `sum` adds them up; `mean` divides the sum by the total weight, which each
loss defines, and is 0 where that is 0.

Losses that compare candidates do so within a request, which is a row. Each request whose labels differ counts 1,
however many candidates it has, unless the loss says otherwise; a request whose labels are all equal says nothing of
their order and counts nothing.

Scores of half precision are judged in single precision: sums over lists and ranks need it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["Lists", "Loss", "Objective", "Reduction", "by_entry", "by_list", "like", "reduce"]

Reduction = Literal["mean", "sum", "none"]

_CELLS = 1 << 24
"""Numbers of one intermediate result that a loss of pairs may hold at once: 64 MB in single precision."""


class Loss(Protocol):
    """See the module's docstring."""

    def __call__(
        self,
        scores: Tensor,
        labels: Tensor,
        *,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """The loss: a scalar, or one value an entry."""
        ...


class Objective(Protocol):
    """What training minimises: any loss of scores and labels, whatever else it could take."""

    def __call__(
        self, scores: Tensor, labels: Tensor, /, *, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """A scalar."""
        ...


@dataclass(frozen=True, slots=True)
class Lists:
    """N requests of one task, with zeros wherever there is no candidate.

    Attributes:
        scores: `(N, C)`.
        labels: `(N, C)`, in the type of the scores.
        real: `(N, C)` bool.
        weight: `(N, C)`.
    """

    scores: Tensor
    labels: Tensor
    real: Tensor
    weight: Tensor

    def parts(self, size: int) -> Iterator["Lists"]:
        """So many requests at a time."""
        columns = (torch.split(values, size) for values in (self.scores, self.labels, self.real, self.weight))
        return (Lists(*part) for part in zip(*columns, strict=True))


def by_entry(
    judge: Callable[[Tensor, Tensor], Tensor],
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
    reduction: Reduction,
) -> Tensor:
    """A loss that judges each entry by itself, meaned over the weight of the real ones.

    Args:
        judge: gives the losses of clean scores and labels, element by element.
        scores: as all that follows, see the module.
        labels: see the module.
        mask: see the module.
        weight: see the module.
        reduction: see the module.
    """
    scores = _precise(scores)
    real = like(scores, mask) > 0
    total = torch.where(real, like(scores, weight), 0.0)
    losses = judge(torch.where(real, scores, 0.0), torch.where(real, labels.to(scores.dtype), 0.0))
    return reduce(losses * total, total, reduction)


def by_list(
    judge: Callable[[Lists], tuple[Tensor, Tensor]],
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
    reduction: Reduction,
    *,
    cells: int = 1,
) -> Tensor:
    """A loss that compares the candidates of a request; tasks are lists of their own.

    Args:
        judge: gives `(N, C)` weighted losses and `(N, C)` their total weights of some of the lists.
        scores: as all that follows, see the module.
        labels: see the module.
        mask: see the module.
        weight: see the module.
        reduction: see the module.
        cells: numbers of an intermediate result for each candidate. Where those of all lists are too many to hold,
            `judge` is called on a few lists at a time, and again for their gradients.
    """
    scores = _precise(scores)
    if not scores.numel():
        return reduce(scores, scores, reduction)
    lists = _lists(scores, labels, mask, weight)
    size = max(_CELLS // (lists.scores.shape[1] * cells), 1)
    if size >= len(lists.scores):
        losses, total = judge(lists)
    else:
        found = [checkpoint(judge, p, use_reentrant=False, preserve_rng_state=False) for p in lists.parts(size)]
        losses, total = (torch.cat(values) for values in zip(*found, strict=True))
    return reduce(_entries(losses, scores), _entries(total, scores), reduction)


def like(scores: Tensor, values: Tensor | None) -> Tensor:
    """A mask or weight `(B, C)` made to fit scores `(B, C)` or `(B, C, T)`; `None` is all ones."""
    if values is None:
        return torch.ones_like(scores)
    values = values.to(scores.dtype)
    return (values.unsqueeze(-1) if values.ndim < scores.ndim else values).expand_as(scores)


def reduce(losses: Tensor, total: Tensor, reduction: Reduction) -> Tensor:
    """Applies the reduction to weighted entries.

    Args:
        losses: weighted losses, 0 where masked.
        total: weight of each entry, the denominator of the mean.
        reduction: see the module's docstring.
    """
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    weight = total.sum()
    return losses.sum() / torch.where(weight > 0, weight, torch.ones_like(weight))


def _precise(scores: Tensor) -> Tensor:
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def _lists(scores: Tensor, labels: Tensor, mask: Tensor | None, weight: Tensor | None) -> Lists:
    real = like(scores, mask) > 0
    clean = [torch.where(real, values, 0.0) for values in (scores, labels.to(scores.dtype), like(scores, weight))]
    return Lists(_rows(clean[0]), _rows(clean[1]), _rows(real), _rows(clean[2]))


def _rows(values: Tensor) -> Tensor:
    """`(B, C)` as it is, `(B, C, T)` as `(B·T, C)`."""
    return values if values.ndim == 2 else values.transpose(1, 2).flatten(0, 1)


def _entries(rows: Tensor, scores: Tensor) -> Tensor:
    """The reverse of `_rows`."""
    return rows if scores.ndim == 2 else rows.view(len(scores), scores.shape[2], -1).transpose(1, 2)
