"""The losses of several tasks as one."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from recsys.errors import ConfigError
from recsys.losses.base import Objective

__all__ = ["Balance", "TaskLosses"]

Balance = Literal["fixed", "uncertainty", "gradnorm"]

_PACE = 0.025
"""Step of the weights that balance gradients, as a share (Chen 2018, section 5.1)."""
_SMALLEST = 1e-3
"""Of these weights: a task is never left out."""


class TaskLosses(nn.Module):
    """Σ_t w_t · loss_t over scores and labels `(B, C, T)`, with weights that are given, learned or balanced.

    `uncertainty`: Σ_t exp(−s_t) · w_t · loss_t + s_t / 2, s_t the logarithm of a variance that is learned (Kendall
    2018, equation 10). `gradnorm`: the w_t move so that the gradients that the tasks send to the weights they share are
    equally large, larger for tasks that learn slower: in proportion to (loss_t / loss_t(0) / mean)^α (Chen 2018,
    algorithm 1). They begin at the weights given, and keep their sum. Here a step is taken on the gradients relative to
    their mean, so that the pace does not depend on the scale of the losses.

    Args:
        losses: of each task.
        weights: of each task, positive.
        balance: how they are weighed.
        shared: gives the weights that tasks share; read by `gradnorm`.
        alpha: α ≥ 0 of `gradnorm`.

    Raises:
        ConfigError: `gradnorm` without shared weights.
    """

    weights: Tensor
    first: Tensor

    def __init__(
        self,
        losses: Sequence[Objective],
        weights: Sequence[float],
        balance: Balance = "fixed",
        *,
        shared: Callable[[], list[Tensor]] = list,
        alpha: float = 1.5,
    ) -> None:
        super().__init__()
        if balance == "gradnorm" and not shared():
            raise ConfigError(
                "ranking.balance: gradnorm compares gradients on weights that tasks share, but this ranker has none; "
                "expected fixed or uncertainty"
            )
        self.losses = list(losses)
        self.balance = balance
        self.shared = shared
        self.alpha = alpha
        self.log_variance = nn.Parameter(torch.zeros(len(losses)), requires_grad=balance == "uncertainty")
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))
        self.register_buffer("first", torch.zeros(len(losses)))

    def forward(
        self, scores: Tensor, labels: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """A scalar, of scores and labels `(B, C, T)`, mask and weight `(B, C)`."""
        judged = [
            loss(scores[..., task], labels[..., task], mask=mask, weight=weight)
            for task, loss in enumerate(self.losses)
        ]
        values = torch.stack(judged)
        match self.balance:
            case "fixed":
                return (self.weights * values).sum()
            case "uncertainty":
                return (torch.exp(-self.log_variance) * self.weights * values + self.log_variance / 2).sum()
            case "gradnorm":
                self._balance(judged)
                return (self.weights * values).sum()

    def _balance(self, judged: Sequence[Tensor]) -> None:
        norms = torch.stack([self._norm(loss) for loss in judged])
        with torch.no_grad():
            values = torch.stack(list(judged)).detach().clamp(min=torch.finfo(torch.float32).tiny)
            self.first.copy_(torch.where(self.first > 0, self.first, values))
            own = self.weights * norms
            behind = values / self.first
            wanted = own.mean() * (behind / behind.mean()) ** self.alpha
            slope = torch.sign(own - wanted) * norms / norms.mean().clamp(min=torch.finfo(torch.float32).tiny)
            total = self.weights.sum()
            moved = (self.weights * (1 - _PACE * slope)).clamp(min=_SMALLEST)
            self.weights.copy_(moved * total / moved.sum())

    def _norm(self, loss: Tensor) -> Tensor:
        found = torch.autograd.grad(loss, self.shared(), retain_graph=True)
        dense = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in found]
        return torch.nn.utils.get_total_norm(dense)
