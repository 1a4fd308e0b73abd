"""Losses that judge each candidate by itself. The contract: `recsys.losses.base`."""

import torch
from torch import Tensor
from torch.nn import functional

from recsys.losses.base import Reduction, like, reduce

__all__ = ["bce"]


def bce(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Binary cross-entropy of logits: −y·log σ(s) − (1 − y)·log σ(−s), meaned over the weight of unmasked entries.

    Labels in [0, 1] may be soft.

    >>> bce(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])).item() == torch.tensor(2.0).log().item()
    True
    """
    inside = like(scores, mask)
    total = like(scores, weight) * inside
    real = inside > 0
    losses = functional.binary_cross_entropy_with_logits(
        torch.where(real, scores, 0.0), torch.where(real, labels, 0.0), reduction="none"
    )
    total = torch.where(real, total, 0.0)
    return reduce(losses * total, total, reduction)
