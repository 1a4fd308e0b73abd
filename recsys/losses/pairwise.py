"""Losses that ask of two candidates of a request that the better one scores higher.

The contract: `recsys.losses.base`. A request's loss is the mean over its pairs, so that long lists do not dominate; an
entry's is that of the pairs it should win.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional

from recsys.losses.base import Lists, Reduction, by_list
from recsys.losses.pairs import pairs_of

__all__ = ["hinge", "ranknet"]


def ranknet(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    hardest: int | None = None,
) -> Tensor:
    """−ln σ((s_i − s_j) / τ) of all pairs with y_i > y_j (Burges 2005, equation 3).

    With labels of 0 and 1 these are the pairs and the loss of BPR (Rendle 2009, section 4.1).

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there; only their order counts.
        mask: see there.
        weight: see there.
        reduction: see there.
        temperature: τ.
        hardest: of each positive, only so many pairs: those with the highest scores below its label.

    >>> import torch
    >>> loss = ranknet(torch.zeros(1, 3), torch.tensor([[0.0, 2.0, 1.0]]))
    >>> bool(loss == torch.tensor(2.0).log())
    True
    """
    judge = partial(_pairs, penalty=lambda gaps: functional.softplus(-gaps / temperature), hardest=hardest)
    return by_list(judge, scores, labels, mask, weight, reduction, cells=scores.shape[1])


def hinge(
    scores: Tensor,
    labels: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    margin: float = 1.0,
    hardest: int | None = None,
) -> Tensor:
    """max(0, margin − (s_i − s_j)) of all pairs with y_i > y_j (Herbrich 2000).

    Args:
        scores: as all up to `reduction`, see `recsys.losses.base`.
        labels: see there; only their order counts.
        mask: see there.
        weight: see there.
        reduction: see there.
        margin: by how much the better one is to be above.
        hardest: as in `ranknet`.

    >>> import torch
    >>> float(hinge(torch.tensor([[2.0, 1.0, 3.0]]), torch.tensor([[1.0, 0.0, 0.0]]), margin=0.5))
    0.75
    """
    judge = partial(_pairs, penalty=lambda gaps: (margin - gaps).relu(), hardest=hardest)
    return by_list(judge, scores, labels, mask, weight, reduction, cells=scores.shape[1])


def _pairs(lists: Lists, penalty: Callable[[Tensor], Tensor], hardest: int | None) -> tuple[Tensor, Tensor]:
    pairs, width = pairs_of(lists, hardest), lists.scores.shape[1]
    lost = pairs.entries(penalty(pairs.gaps(lists.scores)), width)
    count = pairs.real.sum(dim=(1, 2)).clamp(min=1).unsqueeze(1)
    return lost / count * lists.weight, pairs.shares(lists) * lists.weight
