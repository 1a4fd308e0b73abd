"""Activations by name; those whose shape is learned are written here."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.nn.norm import BatchStandardise

__all__ = ["ACTIVATIONS", "Dice", "Elementwise", "PReLU"]


class PReLU(nn.Module):
    """max(x, 0) + a·min(x, 0), one `a` a feature (He 2015).

    Written as relu(x) + a·(x − relu(x)): onnxruntime runs that several times faster than its own PRelu.
    `(…, D)` to `(…, D)`; the mask is ignored.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((features,), 0.25))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(…, D)` to `(…, D)`."""
        positive = torch.relu(x)
        return positive + self.slope * (x - positive)


class Dice(nn.Module):
    """p·x + (1 − p)·a·x with p = σ((x − mean) / deviation) (Zhou 2018, section 5.3).

    Mean and deviation are those of the batch in training and running averages afterwards.
    `(…, D)` to `(…, D)`; `mask` `(…)` says which positions count in the statistics.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.standardise = BatchStandardise(features)
        self.slope = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(…, D)` to `(…, D)`."""
        gate = torch.sigmoid(self.standardise(x, mask))
        return x * (self.slope + (1 - self.slope) * gate)


class Elementwise(nn.Module):
    """A function of torch's, the same for every feature; the mask is ignored."""

    def __init__(self, function: Callable[[Tensor], Tensor], features: int) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(…, D)` to `(…, D)`."""
        return self.function(x)


ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "dice": Dice,
    "prelu": PReLU,
    "relu": partial(Elementwise, torch.relu),
    "leaky_relu": partial(Elementwise, functional.leaky_relu),
    "elu": partial(Elementwise, functional.elu),
    "gelu": partial(Elementwise, functional.gelu),
    "silu": partial(Elementwise, functional.silu),
    "sigmoid": partial(Elementwise, torch.sigmoid),
    "tanh": partial(Elementwise, torch.tanh),
}
"""Name to what makes an activation of D features; slopes and constants are torch's defaults."""
