"""Every loss by the name a configuration gives it."""

from recsys.losses.base import Loss
from recsys.losses.listwise import softmax_cross_entropy
from recsys.losses.pointwise import bce

__all__ = ["LOSSES"]

LOSSES: dict[str, Loss] = {
    "bce": bce,
    "softmax_cross_entropy": softmax_cross_entropy,
}
