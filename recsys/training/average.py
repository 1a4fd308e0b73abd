"""An exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Follows the weights of a model while it is trained (Polyak 1992).

    Early steps are averaged over fewer of them, with the decay min(decay, (1 + t) / (10 + t)) after t steps, so that
    the weights it began with are soon forgotten. Every floating-point number of the model's state is averaged, running
    statistics among them.

    Args:
        model: as it begins.
        decay: a step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.values = {name: values.detach().clone() for name, values in _floats(model).items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Takes the weights after a step, counted from 0."""
        now = _floats(self._model)
        decay = min(self._decay, (1 + step) / (10 + step))
        # Values that moved to another device since: the average follows them there, too.
        self.values = {name: values.to(now[name].device) for name, values in self.values.items()}
        torch._foreach_lerp_(list(self.values.values()), [now[name] for name in self.values], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights inside."""
        own = {name: values.detach().clone() for name, values in _floats(self._model).items()}
        self.apply()
        try:
            yield
        finally:
            _put(self._model, own)

    def apply(self) -> None:
        """Gives the model the averaged weights."""
        _put(self._model, self.values)


def _floats(model: nn.Module) -> dict[str, Tensor]:
    return {name: values for name, values in model.state_dict().items() if values.is_floating_point()}


@torch.no_grad()
def _put(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, now in _floats(model).items():
        now.copy_(values[name])
