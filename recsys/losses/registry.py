"""Every loss by the kind a configuration gives it."""

from functools import partial

from recsys.losses.base import Loss
from recsys.losses.combined import Combined
from recsys.losses.config import LossConfig, LossTerm, loss_terms
from recsys.losses.lambdarank import lambda_loss, lambdarank
from recsys.losses.listwise import infonce, listmle, listnet, softmax_cross_entropy
from recsys.losses.ndcg import approx_ndcg, neural_ndcg
from recsys.losses.pairwise import hinge, ranknet
from recsys.losses.pointwise import bce, focal, mse

__all__ = ["LOSSES", "build_loss"]

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
    "approx_ndcg": approx_ndcg,
    "neural_ndcg": neural_ndcg,
    "lambdarank": lambdarank,
    "lambda_loss": lambda_loss,
}


def build_loss(config: LossConfig) -> Loss:
    """What a configuration asks for: one loss with its settings, or the weighted sum of several."""
    terms = tuple((term.weight, _built(term)) for term in loss_terms(config))
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else Combined(terms)


def _built(term: LossTerm) -> Loss:
    settings = term.model_dump(exclude={"kind", "weight"})
    return partial(LOSSES[term.kind], **settings)
