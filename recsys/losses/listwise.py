"""Losses that judge the candidates of a request together. The contract: `recsys.losses.base`."""

import torch
from torch import Tensor

from recsys.losses.base import Reduction, like, reduce

__all__ = ["softmax_cross_entropy"]


def softmax_cross_entropy(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """−y·log softmax(s) over the candidates of a request, meaned over weight times label (Cao 2007, ListNet).

    Every positive counts alike, however many share its list; a list without one counts nothing. With identity labels
    this is the in-batch softmax of two-tower models.

    >>> loss = softmax_cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]]))
    >>> bool(loss == torch.tensor(4.0).log())
    True
    """
    real = like(scores, mask) > 0
    total = torch.where(real, like(scores, weight) * labels, 0.0)
    # The lowest finite score, not −inf: a fully masked list must have a gradient of zero, not NaN.
    logs = torch.where(real, scores, torch.finfo(scores.dtype).min).log_softmax(dim=1)
    return reduce(-torch.where(real, logs, 0.0) * total, total, reduction)
