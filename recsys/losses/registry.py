"""Every loss by the kind a configuration gives it."""

from recsys.losses.base import Loss
from recsys.losses.listwise import infonce, listmle, listnet, softmax_cross_entropy
from recsys.losses.pairwise import hinge, ranknet
from recsys.losses.pointwise import bce, focal, mse

__all__ = ["LOSSES"]

LOSSES: dict[str, Loss] = {
    "bce": bce,
    "focal": focal,
    "mse": mse,
    "ranknet": ranknet,
    "bpr": ranknet,
    "hinge": hinge,
    "softmax": softmax_cross_entropy,
    "listnet": listnet,
    "listmle": listmle,
    "infonce": infonce,
}
