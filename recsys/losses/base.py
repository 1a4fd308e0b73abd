"""The contract of every loss, and how it reduces.

    loss(scores, labels, *, mask=None, weight=None, reduction="mean")

`scores` and `labels` are `(B, C)` or `(B, C, T)`: requests, candidates, tasks; scores are logits. `mask` `(B, C)` is
true at real candidates: whatever stands at the others, NaN included, changes neither the loss nor a gradient. `weight`
`(B, C)`, not negative, says how much each entry counts. `reduction`: `none` gives one value an entry, weighted, 0 where
masked; `sum` adds them up; `mean` divides the sum by the total weight, which each loss defines, and is 0 where that is
0.
"""

from typing import Literal, Protocol

import torch
from torch import Tensor

__all__ = ["Loss", "Objective", "Reduction", "like", "reduce"]

Reduction = Literal["mean", "sum", "none"]


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

    def __call__(self, scores: Tensor, labels: Tensor, /, *, mask: Tensor | None = None) -> Tensor:
        """A scalar."""
        ...


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
