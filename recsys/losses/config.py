"""Settings of every loss a ranker can learn by, and how they are written; torch-free."""

import re
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from recsys.problems import Problem, Problems, unknown
from recsys.settings import Settings

__all__ = [
    "ApproxNDCGLoss",
    "BCELoss",
    "BPRLoss",
    "FocalLoss",
    "HingeLoss",
    "InfoNCELoss",
    "LambdaLoss",
    "LambdaRankLoss",
    "ListMLELoss",
    "ListNetLoss",
    "LossConfig",
    "LossTerm",
    "MSELoss",
    "NeuralNDCGLoss",
    "RankNetLoss",
    "SoftmaxLoss",
    "loss_terms",
    "needing_groups",
]

Share = Annotated[float, Field(ge=0, le=1)]
Smoothing = Annotated[float, Field(ge=0, lt=1)]
Gain = Literal["exponential", "linear"]


class _Term(Settings):
    compares: ClassVar[bool] = True
    """Whether it compares the candidates of a request."""

    weight: PositiveFloat = 1.0
    """Of this loss in a sum of several."""


class _Pointwise(_Term):
    compares: ClassVar[bool] = False


class BCELoss(_Pointwise):
    """Binary cross-entropy of every candidate: scores are log-odds, calibrated if nothing below is set."""

    kind: Literal["bce"]
    label_smoothing: Smoothing = 0.0
    """Share of each label that is replaced by ½."""
    positive_weight: PositiveFloat = 1.0
    """How often a positive counts; the odds that scores tell are multiplied by it."""


class FocalLoss(_Pointwise):
    """Cross-entropy in which what is told right already counts little (Lin 2017)."""

    kind: Literal["focal"]
    gamma: NonNegativeFloat = 2.0
    """The higher, the less easy candidates count; 0 is `bce`."""
    alpha: Share | None = None
    """Weight of positives, that of negatives being 1 − alpha; `null`: 1 for both."""


class MSELoss(_Pointwise):
    """Squared error: scores are predicted labels, such as ratings."""

    kind: Literal["mse"]


class _Logistic(_Term):
    temperature: PositiveFloat = 1.0
    """Differences of scores are divided by it."""
    hardest: PositiveInt | None = None
    """Pairs of each positive: those with the highest scores below its label; `null`: all."""


class RankNetLoss(_Logistic):
    """−ln σ(better − worse), the mean over the pairs of a request (Burges 2005)."""

    kind: Literal["ranknet"]


class BPRLoss(_Logistic):
    """`ranknet` by the name it has for clicks: positives against negatives of the same request (Rendle 2009)."""

    kind: Literal["bpr"]


class HingeLoss(_Term):
    """max(0, margin + worse − better), the mean over the pairs of a request (Herbrich 2000)."""

    kind: Literal["hinge"]
    margin: PositiveFloat = 1.0
    """By how much the better one is to be above."""
    hardest: PositiveInt | None = None
    """Pairs of each positive: those with the highest scores below its label; `null`: all."""


class SoftmaxLoss(_Term):
    """Cross-entropy of the positives among all candidates of the request; every positive counts its label."""

    kind: Literal["softmax"]
    temperature: PositiveFloat = 1.0
    """Scores are divided by it."""
    label_smoothing: Smoothing = 0.0
    """Share of a list's labels that is spread evenly over all its candidates."""


class ListNetLoss(_Term):
    """Cross-entropy of the chances to come first, of labels as utilities and of scores (Cao 2007)."""

    kind: Literal["listnet"]
    temperature: PositiveFloat = 1.0
    """Labels are divided by it; the smaller, the more the best of them count. With clicks 0.1 or less: the zeros of a
    long list together outweigh its ones otherwise."""


class ListMLELoss(_Term):
    """Likelihood of the order of the labels, equal ones not competing (Xia 2008)."""

    kind: Literal["listmle"]
    temperature: PositiveFloat = 1.0
    """Scores are divided by it."""


class InfoNCELoss(_Term):
    """Cross-entropy of one positive among the negatives of its request (van den Oord 2018)."""

    kind: Literal["infonce"]
    temperature: PositiveFloat = 1.0
    """Scores are divided by it."""


class ApproxNDCGLoss(_Term):
    """1 − NDCG with smooth ranks (Qin 2010)."""

    kind: Literal["approx_ndcg"]
    temperature: PositiveFloat = 1.0
    """The smaller, the truer the ranks, and the fewer candidates move."""
    gain: Gain = "exponential"
    """What a label y is worth: 2^y − 1, or y."""


class NeuralNDCGLoss(_Term):
    """1 − NDCG with a smooth permutation (Pobrotyn & Białobrzeski 2021); slow with long lists."""

    kind: Literal["neural_ndcg"]
    temperature: PositiveFloat = 1.0
    """The smaller, the nearer to sorting, and the fewer candidates move."""
    gain: Gain = "exponential"
    """What a label y is worth: 2^y − 1, or y."""
    k: PositiveInt | None = None
    """Positions that count; `null`: all."""
    iterations: PositiveInt = 20
    """Rounds of scaling the permutation's columns and rows to 1."""


class LambdaRankLoss(_Term):
    """Pairs weighed by what swapping them would do to NDCG (Burges 2010), as in LightGBM."""

    kind: Literal["lambdarank"]
    sigmoid: PositiveFloat = 1.0
    """Steepness: differences of scores are multiplied by it."""
    k: PositiveInt | None = None
    """Only pairs count of which one stands among the first so many; `null`: all."""
    norm: bool = False
    """LightGBM's `lambdarank_norm`: close pairs count more, and no request has much more to say than another."""
    gain: Gain = "exponential"
    """What a label y is worth: 2^y − 1, or y."""


class LambdaLoss(_Term):
    """Pairs weighed so that the loss bounds 1 − NDCG (Wang 2018)."""

    kind: Literal["lambda_loss"]
    scheme: Literal["ndcg_loss1", "ndcg_loss2", "ndcg_loss2++"] = "ndcg_loss2++"
    """By the better one's gain and rank; by the gains and how far apart the ranks are; or that and LambdaRank's."""
    mu: NonNegativeFloat = 10.0
    """With `ndcg_loss2++`: weight of `ndcg_loss2` beside LambdaRank's."""
    sigmoid: PositiveFloat = 1.0
    """Steepness: differences of scores are multiplied by it."""
    k: PositiveInt | None = None
    """Only pairs count of which one stands among the first so many; `null`: all."""
    gain: Gain = "exponential"
    """What a label y is worth: 2^y − 1, or y."""


_Members = (
    BCELoss
    | FocalLoss
    | MSELoss
    | RankNetLoss
    | BPRLoss
    | HingeLoss
    | SoftmaxLoss
    | ListNetLoss
    | ListMLELoss
    | InfoNCELoss
    | ApproxNDCGLoss
    | NeuralNDCGLoss
    | LambdaRankLoss
    | LambdaLoss
)
_KINDS = tuple(kind for model in get_args(_Members) for kind in get_args(model.model_fields["kind"].annotation))
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TERM = rf"\s*(?:({_NUMBER})\s*\*\s*)?([A-Za-z_]\w*)\s*"


def _parsed(text: str) -> list[dict[str, Any]]:
    """The losses of `bce + 0.1 * lambdarank`, as their mappings."""
    if not re.fullmatch(rf"{_TERM}(?:\+{_TERM})*", text, re.ASCII):
        raise Problem(f"found {text!r}, expected losses with weights or without, such as bce + 0.1 * lambdarank")
    found = re.findall(_TERM, text, re.ASCII)
    wrong = [Problem(unknown(kind, _KINDS, noun="loss")) for _, kind in found if kind not in _KINDS]
    if wrong:
        raise Problems(wrong)
    return [{"kind": kind, **({"weight": float(weight)} if weight else {})} for weight, kind in found]


def _of_entry(value: object) -> object:
    """An entry of a list of losses: `bce` for `{kind: bce}`, `0.1 * bce` for `{kind: bce, weight: 0.1}`."""
    if not isinstance(value, str):
        return value
    terms = _parsed(value)
    if len(terms) > 1:
        raise Problem(f"found {value!r}, expected one loss in each entry of a list")
    return terms[0]


def _of_text(value: object) -> object:
    """The mapping of one loss or the list of several."""
    if value == []:
        raise Problem("found an empty list, expected at least one loss")
    if not isinstance(value, str):
        return value
    terms = _parsed(value)
    return terms[0] if len(terms) == 1 else terms


LossTerm = Annotated[_Members, Field(discriminator="kind"), BeforeValidator(_of_entry)]
LossConfig = Annotated[LossTerm | tuple[LossTerm, ...], BeforeValidator(_of_text)]


def loss_terms(loss: LossConfig) -> tuple[LossTerm, ...]:
    """The losses that are added up: one or several."""
    return loss if isinstance(loss, tuple) else (loss,)


def needing_groups(loss: LossConfig) -> list[str]:
    """Kinds of those losses that compare the candidates of a request."""
    return [term.kind for term in loss_terms(loss) if term.compares]
