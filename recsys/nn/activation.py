"""Activations whose shape is learned."""

import torch
from torch import Tensor, nn

from recsys.nn.norm import BatchStandardise

__all__ = ["ACTIVATIONS", "Dice", "PReLU", "ReLU"]


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


class ReLU(nn.Module):
    """max(x, 0); the mask is ignored."""

    def __init__(self, features: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(…, D)` to `(…, D)`."""
        return torch.relu(x)


ACTIVATIONS: dict[str, type[nn.Module]] = {"dice": Dice, "prelu": PReLU, "relu": ReLU}
