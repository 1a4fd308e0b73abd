"""Standardisation: of inputs, with statistics fitted once, and of activations, with statistics of the batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["NORMS", "BatchStandardise", "InputStandardise", "Moments"]

_EPSILON = 1e-6
_CLIP = 10.0
"""Standard deviations: one outlier must not drown a logit."""


class Moments:
    """Mean and deviation of rows that come a few at a time, in double precision.

    Attributes:
        count: rows so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._total = torch.zeros((), dtype=torch.float64)
        self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Rows `(n, D)`."""
        wide = rows.double()
        self.count += len(rows)
        self._total = self._total + wide.sum(0)
        self._squares = self._squares + wide.square().sum(0)

    @property
    def mean(self) -> Tensor:
        """`(D,)`; NaN without rows."""
        return self._total / self.count if self.count else self._total + torch.nan

    @property
    def deviation(self) -> Tensor:
        """`(D,)` of all rows; NaN without any."""
        squares = self._squares / self.count if self.count else self._squares + torch.nan
        return (squares - self.mean.square()).clamp(min=0).sqrt()


class InputStandardise(nn.Module):
    """(x − mean) / deviation with fitted statistics, clipped to ±10; a constant feature becomes 0.

    `(…, D)` to `(…, D)`. Until `fit` is called it only clips.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def fit(self, moments: Moments) -> None:
        """Sets mean and scale from those of the rows; no rows leave them as they are."""
        if moments.count == 0:
            return
        mean, deviation = moments.mean, moments.deviation
        # Rounding alone gives a constant column a deviation of about 1e-8 of its size.
        constant = deviation <= _EPSILON * mean.abs().clamp(min=_EPSILON)
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, 0.0, 1 / deviation.clamp(min=torch.finfo(torch.float32).tiny)))

    def forward(self, x: Tensor) -> Tensor:
        """`(…, D)` to `(…, D)`."""
        return ((x - self.mean) * self.scale).clamp(-_CLIP, _CLIP)


class BatchStandardise(nn.Module):
    """Batch normalisation without scale and shift (Ioffe 2015) over all leading axes, padding left out.

    In training: mean and variance over the positions where `mask` is true; 0 at the others. In evaluation: running
    averages.
    `(…, D)` to `(…, D)`, mask `(…)` or broadcastable to it.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, features: int, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.epsilon = epsilon
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_variance", torch.ones(features))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(…, D)` to `(…, D)`."""
        if not self.training:
            return self._by_running_averages(x)
        if mask is None or bool(mask.all()):
            return self._by_batch(x.flatten(0, -2)).view(x.shape)
        # By position: boolean indexing takes five times as long.
        real = mask.expand(x.shape[:-1]).flatten().nonzero().squeeze(1)
        rows = x.flatten(0, -2)
        return torch.zeros_like(rows).index_copy(0, real, self._by_batch(rows.index_select(0, real))).view(x.shape)

    def _by_running_averages(self, x: Tensor) -> Tensor:
        return (x - self.running_mean) * torch.rsqrt(self.running_variance + self.epsilon)

    def _by_batch(self, rows: Tensor) -> Tensor:
        if len(rows) < 2:  # nothing to learn from: one row has no variance
            return self._by_running_averages(rows)
        out, mean, inverse = torch.native_batch_norm(rows, None, None, None, None, True, 0.0, self.epsilon)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_variance.lerp_(inverse**-2 - self.epsilon, self.momentum)
        return out


class _LayerNorm(nn.LayerNorm):
    """torch's (Ba 2016); every position is normalised on its own, so the mask is ignored."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(…, D)` to `(…, D)`."""
        return super().forward(x)


class _NoNorm(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x


NORMS: dict[str, Callable[[int], nn.Module]] = {"none": _NoNorm, "batch": BatchStandardise, "layer": _LayerNorm}
"""Name to what makes a normalisation of D features: `(…, D)` and a mask `(…)` to `(…, D)`."""
