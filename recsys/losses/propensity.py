"""Position debiasing: what was seen less often counts the more where it was clicked."""

import torch
from torch import Tensor

__all__ = ["inverse_propensity"]


def inverse_propensity(propensity: Tensor, *, clip: float = 0.01) -> Tensor:
    """Weights 1 / max(p, clip) for any loss: clicks as if all candidates had been looked at (Joachims 2017, section 4).

    Args:
        propensity: `(B, C)` chance that the candidate was looked at where it stood; NaN where it is not known, which
            counts 1.
        clip: smallest chance that is believed, in (0, 1]: bounds the weights, for less variance and some bias
            (Strehl 2010).

    Returns:
        `(B, C)` weights in [1, 1 / clip].

    Raises:
        ValueError: `clip` or a propensity is out of range.

    >>> inverse_propensity(torch.tensor([[1.0, 0.5, 0.001]]), clip=0.1)
    tensor([[ 1.,  2., 10.]])
    """
    if not 0 < clip <= 1:
        raise ValueError(f"clip: found {clip:g}, expected more than 0 and at most 1")
    known = ~propensity.isnan()
    wrong = propensity[known & ~((propensity >= 0) & (propensity <= 1))]
    if len(wrong):
        raise ValueError(f"propensity: found {float(wrong[0]):g}, expected chances from 0 to 1")
    return torch.where(known, 1 / propensity.clamp(min=clip), 1.0)
