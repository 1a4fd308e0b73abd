"""The optimiser of a model: one for what is dense, one for large embedding tables, stepped as one."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recsys.nn.embedding import EmbeddingCollection
from recsys.training.config import OptimiserConfig
from recsys.training.rows import RowOptimiser, RowRule, summed

__all__ = ["JointOptimiser", "clip_gradients", "optimiser_of"]


class JointOptimiser(Optimizer):
    """Several optimisers that are stepped as one, so that whatever drives an optimiser drives them all.

    Args:
        parts: at least one.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        # The groups of the parts themselves, not copies: a learning rate that is set here is set there.
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = list(parts)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401
        """One step of every part."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            if not isinstance(part, RowOptimiser):
                _add_l1(part)
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Of every part."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where `state_dict` was asked."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def optimiser_of(model: nn.Module, config: OptimiserConfig) -> JointOptimiser:
    """An optimiser for everything dense, and one for embedding tables with sparse gradients.

    Weight decay falls on matrices, never on biases, norms and other vectors; embedding tables have their own.
    """
    collections = [m for m in model.modules() if isinstance(m, EmbeddingCollection) and m.weight.requires_grad]
    tables, large = [m.weight for m in collections], [m.weight for m in collections if m.sparse]
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for parameter in _trained(model):
        if not any(parameter is table for table in large):
            groups.setdefault(_penalties(parameter, tables, config), []).append(parameter)
    grouped = [{"params": found, "weight_decay": l2, "l1": l1} for (l2, l1), found in groups.items()]
    parts: list[Optimizer] = [_DENSE[config.kind](grouped, config)] if grouped else []
    return JointOptimiser([*parts, _rows(large, config)] if large else parts)


def clip_gradients(parameters: Sequence[Tensor], largest: float) -> float:
    """Scales all gradients so that their norm together is at most `largest`; gives what it was."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = summed(parameter.grad)
        if parameter.grad is not None:
            gradients.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
    norm = torch.nn.utils.get_total_norm(gradients)
    share = (largest / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(share)
    return float(norm)


@torch.no_grad()
def _add_l1(part: Optimizer) -> None:
    for group in part.param_groups:
        if group["l1"]:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.sign(), alpha=group["l1"])


def _penalties(parameter: Tensor, tables: Sequence[Tensor], config: OptimiserConfig) -> tuple[float, float]:
    """L2 and L1 of a dense parameter."""
    if any(parameter is table for table in tables):
        return config.embedding_weight_decay, config.embedding_l1
    return (config.weight_decay, config.l1) if parameter.ndim > 1 else (0.0, 0.0)


def _rows(tables: Sequence[Tensor], config: OptimiserConfig) -> RowOptimiser:
    named = config.kind if config.tables == "auto" else config.tables
    rules: dict[str, RowRule] = {"sgd": "sgd", "adagrad": "adagrad", "rowwise_adagrad": "adagrad"}
    return RowOptimiser(
        tables,
        rules.get(named, "adam"),
        lr=config.learning_rate,
        rowwise=named.startswith("rowwise"),
        weight_decay=config.embedding_weight_decay,
        decoupled=config.kind == "adamw",
        l1=config.embedding_l1,
    )


def _trained(model: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


_Groups = list[dict[str, Any]]
_DENSE: dict[str, Callable[[_Groups, OptimiserConfig], Optimizer]] = {
    "sgd": lambda groups, c: torch.optim.SGD(groups, c.learning_rate, momentum=c.momentum, nesterov=c.nesterov),
    "adagrad": lambda groups, c: torch.optim.Adagrad(groups, c.learning_rate),
    "adadelta": lambda groups, c: torch.optim.Adadelta(groups, c.learning_rate),
    "rmsprop": lambda groups, c: torch.optim.RMSprop(groups, c.learning_rate, momentum=c.momentum),
    "adam": lambda groups, c: torch.optim.Adam(groups, c.learning_rate),
    "adamw": lambda groups, c: torch.optim.AdamW(groups, c.learning_rate),
    "nadam": lambda groups, c: torch.optim.NAdam(groups, c.learning_rate),
}
