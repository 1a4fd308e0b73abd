"""How the weights of a ranker start, where its settings say otherwise than torch does."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from recsys.nn.experts import Experts, ParallelMLP
from recsys.nn.mlp import MLP, SplitLinear
from recsys.ranking.base import FieldInputs
from recsys.ranking.settings.base import DRAWN_STD, EmbeddingSettings, Initialiser, NetworkSettings

__all__ = ["initialise"]

Rule = Callable[[Tensor], Tensor]

_RULES: dict[Initialiser, Callable[[NetworkSettings], Rule | None]] = {
    "torch": lambda _: None,
    "xavier_uniform": lambda _: nn.init.xavier_uniform_,
    "xavier_normal": lambda _: nn.init.xavier_normal_,
    "kaiming_uniform": lambda _: partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "kaiming_normal": lambda _: partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "orthogonal": lambda _: nn.init.orthogonal_,
    "normal": lambda config: partial(nn.init.normal_, std=config.initial_std),
}


@torch.no_grad()
def initialise(ranker: nn.Module, config: EmbeddingSettings) -> None:
    """Draws the network's matrices anew, and makes embeddings as large as the settings say.

    The network is what `hidden` describes, experts and towers of tasks among it. A layer over the request and the
    candidates is one matrix, and each of several experts has its own. Biases stay as torch drew them, and what starts
    at zero stays at zero. With the settings' defaults nothing is drawn and nothing changes.

    Args:
        ranker: as it was built.
        config: its settings.
    """
    rule = _RULES[config.initialiser](config) if isinstance(config, NetworkSettings) else None
    if rule is not None:
        for matrix in _matrices(ranker):
            _draw(rule, matrix)
    for part in ranker.modules():
        if isinstance(part, FieldInputs) and config.embedding_std != DRAWN_STD:
            for drawn in (part.embeddings, part.request_vectors, part.candidate_vectors):
                if drawn is not None:
                    drawn.weight.mul_(config.embedding_std / DRAWN_STD)


def _matrices(ranker: nn.Module) -> Iterator[list[Tensor]]:
    """The matrices `(out, in)` of a ranker's networks, each as the views that lie side by side in it."""
    for part in ranker.modules():
        match part:
            case MLP():
                yield from _split(part.first, 1)
                yield from ([layer.weight] for layer in part.layers if isinstance(layer, nn.Linear))
            case Experts():
                yield from _split(part.first, part.count)
            case ParallelMLP():
                for layer in part.layers:
                    assert isinstance(layer.weight, Tensor)
                    yield from ([expert.T] for expert in layer.weight)


def _split(layer: SplitLinear, count: int) -> Iterator[list[Tensor]]:
    """Of a first layer: one matrix for each of `count` networks."""
    sides = [side.weight.chunk(count) for side in (layer.request, layer.candidate) if side is not None]
    return (list(views) for views in zip(*sides, strict=True))


def _draw(rule: Rule, views: Sequence[Tensor]) -> None:
    if any(view.any() for view in views):
        whole = rule(torch.empty(len(views[0]), sum(view.shape[1] for view in views)))
        for view, part in zip(views, torch.split(whole, [view.shape[1] for view in views], dim=1), strict=True):
            view.copy_(part)
