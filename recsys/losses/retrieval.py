"""Losses of one positive against the columns of a score matrix: what two-towers are trained with.

    loss(scores, target, *, mask=None, weight=None)

`scores` `(P, M)`: requests and the items they share, scores of any scale. `target` `(P, 1)` int64: the column of each
request's positive; for `softmax` `(P, T)`, several of them, padded with −1. `mask` `(P, M)` is true at real columns,
the positives' among them; whatever stands at the others changes neither the loss nor a gradient. `weight` `(P,)` says
how much each request counts. The loss is a scalar: the mean over the requests, by their weight; negatives are the real
columns other than the positive's, and a request without any counts 0 for them.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["bpr", "cosine_contrastive", "hinge", "softmax"]

_CACHED = 1 << 18
"""Scores looked at together: a megabyte."""


def softmax(
    scores: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """−ln of the positive's share of Σ exp(score), a part of the target spread over all real columns.

    In-batch softmax, sampled softmax, InfoNCE (van den Oord 2018, equation 4) or the full cross-entropy, by what the
    columns are. Of several positives of a request the mean: the likelihood of a multinomial (Liang 2018, equation 2).

    >>> bool(softmax(torch.zeros(2, 4), torch.tensor([[0], [3]])) == torch.tensor(4.0).log())
    True
    """
    losses: Tensor = _SmoothedSoftmax.apply(scores, target, mask, label_smoothing)  # type: ignore[no-untyped-call]
    return _over_requests(losses, weight)


def bpr(scores: Tensor, target: Tensor, *, mask: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    """−ln σ(positive − negative), meaned over the negatives of a request (Rendle 2009, section 4.1).

    >>> bool(bpr(torch.zeros(1, 3), torch.tensor([[1]])) == torch.tensor(2.0).log())
    True
    """
    positive, negatives = _parted(scores, target, mask)
    return _over_requests(_mean(functional.softplus(scores - positive), negatives), weight)


def hinge(
    scores: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    margin: float = 0.3,
) -> Tensor:
    """max(0, margin + negative − positive), meaned over the negatives of a request.

    >>> float(hinge(torch.tensor([[2.0, 1.0, 3.0]]), torch.tensor([[0]]), margin=0.5))
    0.75
    """
    positive, negatives = _parted(scores, target, mask)
    return _over_requests(_mean((margin + scores - positive).relu(), negatives), weight)


def cosine_contrastive(
    scores: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    margin: float = 0.4,
    negative_weight: float = 1.0,
) -> Tensor:
    """1 − positive + negative_weight · mean of max(0, negative − margin) (Mao 2021, equation 3).

    >>> float(cosine_contrastive(torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[0]]), margin=0.25))
    0.125
    """
    positive, negatives = _parted(scores, target, mask)
    losses = (1 - positive.squeeze(1)) + negative_weight * _mean((scores - margin).relu(), negatives)
    return _over_requests(losses, weight)


def _parted(scores: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """`(P, 1)` the positive's score, and `(P, M)` which columns are negatives."""
    real = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    return scores.gather(1, target), real.scatter(1, target, False)


def _over_requests(losses: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of `(P,)` losses; 0 where no request counts."""
    if weight is None:
        return losses.mean()
    total = weight.sum()
    return (losses * weight).sum() / torch.where(total > 0, total, 1.0)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """`(P,)` mean over the columns of the mask; 0 where there is none."""
    if mask is None:
        return values.mean(dim=1)
    return values.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


class _SmoothedSoftmax(torch.autograd.Function):
    """`(P,)` losses, and their gradient, a few rows at a time.

    With a whole catalogue as columns the scores are far larger than any cache: written with torch's own functions the
    loss reads and writes all of them nine times, so, twice. Training as a whole takes two thirds of the time.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, target: Tensor, mask: Tensor | None, smoothing: float) -> Tensor:  # noqa: ANN401
        norms, means = torch.empty(len(scores), dtype=scores.dtype), torch.zeros(len(scores), dtype=scores.dtype)
        norms, means = norms.to(scores.device), means.to(scores.device)
        for rows in _blocks(scores):
            values = _real(scores[rows], mask, rows, torch.finfo(scores.dtype).min)
            norms[rows] = values.logsumexp(dim=1)
            if smoothing:
                means[rows] = _mean(scores[rows], None if mask is None else mask[rows])
        ctx.save_for_backward(scores, target, norms, *(() if mask is None else (mask,)))
        ctx.smoothing = smoothing
        positive = (scores.gather(1, target.clamp(min=0)) * _shares(target, scores.dtype)).sum(dim=1)
        return norms - (1 - smoothing) * positive - smoothing * means

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        scores, target, norms, *rest = ctx.saved_tensors
        mask = rest[0] if rest else None
        result = torch.empty_like(scores)
        places, shares = target.clamp(min=0), _shares(target, scores.dtype) * (ctx.smoothing - 1)
        for rows in _blocks(scores):
            share = torch.sub(scores[rows], norms[rows].unsqueeze(1), out=result[rows]).exp_()
            if ctx.smoothing:
                count = scores.shape[1] if mask is None else mask[rows].sum(dim=1, keepdim=True).clamp(min=1)
                share -= ctx.smoothing / count
            share.scatter_add_(1, places[rows], shares[rows])
            share *= gradients[0][rows].unsqueeze(1)
            if mask is not None:
                share.masked_fill_(~mask[rows], 0.0)
        return result, None, None, None


def _shares(target: Tensor, dtype: torch.dtype) -> Tensor:
    """`(P, T)` what each positive counts: 1 in all, 0 at padding."""
    real = (target >= 0).to(dtype)
    return real / real.sum(dim=1, keepdim=True).clamp(min=1)


def _blocks(scores: Tensor) -> Iterator[slice]:
    """Rows whose scores fit into a cache together."""
    size = max(_CACHED // scores.shape[1], 1)
    return (slice(start, start + size) for start in range(0, len(scores), size))


def _real(scores: Tensor, mask: Tensor | None, rows: slice, fill: float) -> Tensor:
    return scores if mask is None else scores.masked_fill(~mask[rows], fill)
