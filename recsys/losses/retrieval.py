"""Losses of one positive against the columns of a score matrix: what two-towers are trained with.

    loss(scores, target, *, mask=None)

`scores` `(P, M)`: requests and the items they share, scores of any scale. `target` `(P, 1)` int64: the column of each
request's positive. `mask` `(P, M)` is true at real columns, the positive's among them; whatever stands at the others
changes neither the loss nor a gradient. The loss is a scalar: the mean over the requests; negatives are the real
columns other than the positive's, and a request without any counts 0 for them.
"""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["bpr", "cosine_contrastive", "hinge", "softmax"]


def softmax(scores: Tensor, target: Tensor, *, mask: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """−ln of the positive's share of Σ exp(score), a part of the target spread over all real columns.

    In-batch softmax, sampled softmax, InfoNCE (van den Oord 2018, equation 4) or the full cross-entropy, by what the
    columns are.

    >>> bool(softmax(torch.zeros(2, 4), torch.tensor([[0], [3]])) == torch.tensor(4.0).log())
    True
    """
    real = scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    losses = real.logsumexp(dim=1) - (1 - label_smoothing) * scores.gather(1, target).squeeze(1)
    if label_smoothing:
        losses = losses - label_smoothing * _mean(scores, mask)
    return losses.mean()


def bpr(scores: Tensor, target: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """−ln σ(positive − negative), meaned over the negatives of a request (Rendle 2009, section 4.1).

    >>> bool(bpr(torch.zeros(1, 3), torch.tensor([[1]])) == torch.tensor(2.0).log())
    True
    """
    positive, negatives = _parted(scores, target, mask)
    return _mean(functional.softplus(scores - positive), negatives).mean()


def hinge(scores: Tensor, target: Tensor, *, mask: Tensor | None = None, margin: float = 0.3) -> Tensor:
    """max(0, margin + negative − positive), meaned over the negatives of a request.

    >>> float(hinge(torch.tensor([[2.0, 1.0, 3.0]]), torch.tensor([[0]]), margin=0.5))
    0.75
    """
    positive, negatives = _parted(scores, target, mask)
    return _mean((margin + scores - positive).relu(), negatives).mean()


def cosine_contrastive(
    scores: Tensor, target: Tensor, *, mask: Tensor | None = None, margin: float = 0.4, negative_weight: float = 1.0
) -> Tensor:
    """1 − positive + negative_weight · mean of max(0, negative − margin) (Mao 2021, equation 3).

    >>> float(cosine_contrastive(torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[0]]), margin=0.25))
    0.125
    """
    positive, negatives = _parted(scores, target, mask)
    losses = (1 - positive.squeeze(1)) + negative_weight * _mean((scores - margin).relu(), negatives)
    return losses.mean()


def _parted(scores: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """`(P, 1)` the positive's score, and `(P, M)` which columns are negatives."""
    real = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    return scores.gather(1, target), real.scatter(1, target, False)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """`(P,)` mean over the columns of the mask; 0 where there is none."""
    if mask is None:
        return values.mean(dim=1)
    return values.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
