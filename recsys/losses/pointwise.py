"""Losses that judge each candidate by itself. The contract: `recsys.losses.base`."""

from functools import partial

from torch import Tensor
from torch.nn import functional

from recsys.losses.base import Reduction, by_entry

__all__ = ["bce", "focal", "mse"]


def bce(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    positive_weight: float = 1.0,
) -> Tensor:
    """Binary cross-entropy of logits: −p·y·log σ(s) − (1 − y)·log σ(−s), meaned over the weight of unmasked entries.

    Labels in [0, 1] may be soft.

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        label_smoothing: share of each label that is replaced by ½ (Szegedy 2016, section 7).
        positive_weight: p. It multiplies the odds that scores tell; the mean's denominator stays the weight.

    >>> import torch
    >>> bce(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])).item() == torch.tensor(2.0).log().item()
    True
    """
    judge = partial(_cross_entropy, smoothing=label_smoothing, positive_weight=positive_weight)
    return by_entry(judge, scores, labels, mask, weight, reduction)


def focal(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    gamma: float = 2.0,
    alpha: float | None = None,
) -> Tensor:
    """−α_t·(1 − p_t)^γ·log p_t with p_t the probability of the label (Lin 2017, equation 5).

    What is told right already counts little, so that the many easy negatives do not drown the few positives. A soft
    label is a mixture of both. Its probabilities are not calibrated.

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there.
        mask: see there.
        weight: see there.
        reduction: see there.
        gamma: γ ≥ 0; with 0 this is `bce`.
        alpha: α_t of positives in [0, 1], 1 − α of negatives; `None`: 1 for both.

    >>> import torch
    >>> float(focal(torch.zeros(1, 1), torch.ones(1, 1)) / bce(torch.zeros(1, 1), torch.ones(1, 1)))
    0.25
    """
    return by_entry(partial(_focal, gamma=gamma, alpha=alpha), scores, labels, mask, weight, reduction)


def mse(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """(s − y)², meaned over the weight of unmasked entries: scores are predicted labels, such as ratings.

    >>> import torch
    >>> float(mse(torch.tensor([[3.5]]), torch.tensor([[5.0]])))
    2.25
    """
    return by_entry(lambda s, y: (s - y).square(), scores, labels, mask, weight, reduction)


def _cross_entropy(scores: Tensor, labels: Tensor, *, smoothing: float, positive_weight: float) -> Tensor:
    soft = labels * (1 - smoothing) + smoothing / 2
    factor = None if positive_weight == 1 else scores.new_tensor(positive_weight)
    return functional.binary_cross_entropy_with_logits(scores, soft, reduction="none", pos_weight=factor)


def _focal(scores: Tensor, labels: Tensor, *, gamma: float, alpha: float | None) -> Tensor:
    yes, no = functional.logsigmoid(scores), functional.logsigmoid(-scores)
    a, b = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    # Powers of probabilities as exponentials of their logarithms: finite gradients for any score.
    return -a * labels * (gamma * no).exp() * yes - b * (1 - labels) * (gamma * yes).exp() * no
