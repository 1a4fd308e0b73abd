"""Several losses added up."""

from dataclasses import dataclass

from torch import Tensor

from recsys.losses.base import Loss, Reduction

__all__ = ["Combined"]


@dataclass(frozen=True, slots=True)
class Combined:
    """A weighted sum of losses, each reduced by itself; a loss like any other.

    Attributes:
        terms: weights and losses, at least one.
    """

    terms: tuple[tuple[float, Loss], ...]

    def __call__(
        self,
        scores: Tensor,
        labels: Tensor,
        *,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """See `recsys.losses.base`."""
        (share, loss), *rest = self.terms
        total = share * loss(scores, labels, mask=mask, weight=weight, reduction=reduction)
        for share, loss in rest:
            total = total + share * loss(scores, labels, mask=mask, weight=weight, reduction=reduction)
        return total
