"""A teacher's scores in place of labels. The contract: `recsys.losses.base`, though labels may be negative here."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from recsys.losses.base import Lists, Reduction, by_entry, by_list

__all__ = ["distillation"]


def distillation(
    scores: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    over: Literal["list", "entry"] = "list",
) -> Tensor:
    """τ²·KL(p ‖ q) of the teacher's and the student's probabilities at temperature τ (Hinton 2015, section 2).

    τ² keeps the gradient of one size whatever the temperature. An entry's value is p ln(p / q) − p + q, which is
    never negative and sums to the divergence over a list.

    Args:
        scores: the student's logits `(B, C)` or `(B, C, T)`.
        teacher: the teacher's logits, likewise; they get no gradient.
        mask: see `recsys.losses.base`.
        weight: see there.
        reduction: see there.
        temperature: τ; the higher, the more it is about what the teacher ranks low.
        over: `list`: probabilities are softmaxes over the candidates, and a request counts 1. `entry`: each candidate
            has a sigmoid of its own, and counts 1.

    >>> loss = distillation(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 2.0]]))  # the same odds
    >>> round(float(loss), 4)
    0.0
    """
    teacher = teacher.detach()
    if over == "entry":
        judge = partial(_entries_apart, temperature=temperature)
        return by_entry(judge, scores, teacher, mask, weight, reduction)
    return by_list(partial(_lists_apart, temperature=temperature), scores, teacher, mask, weight, reduction)


def _entries_apart(scores: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    student, target = scores / temperature, teacher / temperature
    yes = functional.logsigmoid(target) - functional.logsigmoid(student)
    no = functional.logsigmoid(-target) - functional.logsigmoid(-student)
    return temperature**2 * (target.sigmoid() * yes + (-target).sigmoid() * no)


def _lists_apart(lists: Lists, temperature: float) -> tuple[Tensor, Tensor]:
    lowest = torch.finfo(lists.scores.dtype).min
    student, target = (
        torch.where(lists.real, values / temperature, lowest).log_softmax(dim=1)
        for values in (lists.scores, lists.labels)
    )
    p = target.exp() * lists.real
    apart = p * (target - student) - p + student.exp() * lists.real
    return temperature**2 * torch.where(lists.real, apart, 0.0) * lists.weight, p * lists.weight
