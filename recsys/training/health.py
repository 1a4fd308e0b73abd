"""Whether a training is well: gradients, activations and embeddings, looked at now and then, layer by layer.

One step in many is looked at, and the last of every epoch. What is found is drawn as curves under `health/`; what is
wrong is said once, with the names of the layers. Nothing of it changes what is learned.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recsys.nn.activation import Dice, Elementwise, PReLU
from recsys.training.batches import Batch
from recsys.training.rows import summed
from recsys.training.tables import followed_tables

__all__ = ["Health"]

_STANDS_STILL, _BEHIND = 1e-8, 1e-3
"""A layer stands still when in two epochs its gradient is this small a share of its weights, and of the largest such
share. Attention over small embeddings begins with next to none, and recovers; Adam moves by what is above 1e-8."""
_STEEP = 1e3
"""A gradient this many times as long as the weights explodes; weights shorter than 1 count as 1."""
_GROWN = 100.0
"""Numbers this many times as large as at the beginning explode; a beginning below 1 counts as 1."""
_MANY = 0.5
"""Share of dead units of a layer, or of dead rows of a table, that is worth a word."""

_OF_TORCH = (nn.ELU, nn.GELU, nn.LeakyReLU, nn.PReLU, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Tanh)
_ACTIVATIONS = (Dice, Elementwise, PReLU, *_OF_TORCH)

Note = Callable[[str, nn.Module, Tensor | None, Tensor], None]
"""Takes a layer's name, the layer, the mask it was given, and what it gives."""


class Health:
    """Follows a model while it is trained.

    Args:
        model: its layers are named as they are in it.
        say: takes a message.
    """

    def __init__(self, model: nn.Module, say: Callable[[str], None]) -> None:
        self._model = model
        self._say = say
        self._tables = followed_tables(model)
        self._began: dict[str, Tensor] = {}
        self._sizes: dict[str, Tensor] = {}
        self._alive: dict[str, Tensor] = {}
        self._slopes: dict[str, Tensor] = {}
        self._steepest: dict[str, Tensor] = {}
        self._still: list[str] = []
        self._known: list[str] = []
        self._said: list[str] = []

    @contextmanager
    def looking(self, on: bool) -> Iterator[None]:
        """Looks at what layers give inside, if `on`; later looks are compared with the first."""
        if not on:
            yield
            return
        with _watched(self._model, self._note):
            yield
        if not self._began:
            self._began = dict(self._sizes) | {table.name: _size(table.weight) for table in self._tables}

    def touched(self) -> None:
        """Takes the gradients of every step: which rows have one."""
        for table in self._tables:
            table.touched()

    @torch.no_grad()
    def sloped(self) -> None:
        """Takes the gradients of a step that is looked at."""
        for name, parameter in self._model.named_parameters():
            if parameter.ndim > 1 and parameter.numel() and parameter.grad is not None:
                gradient, weights = _norms(parameter)
                layer = name.removesuffix(".weight")
                _merge(self._slopes, layer, gradient / weights.clamp(min=1e-12), torch.maximum)
                _merge(self._steepest, layer, gradient / weights.clamp(min=1.0), torch.maximum)

    def figures(self) -> dict[str, float]:
        """Those of the epoch that ends, by name. Says what is wrong, and forgets the epoch."""
        slopes = {name: float(share) for name, share in self._slopes.items()}
        dead = {name: 1 - float(alive.float().mean()) for name, alive in self._alive.items()}
        sizes = {name: float(size) for name, size in self._sizes.items()}
        self._judge_gradients(slopes)
        self._judge_outputs(sizes)
        self._judge_units(dead)
        self._judge_rows()
        found = {f"health/gradient/{name}": value for name, value in slopes.items()}
        found |= {f"health/size/{name}": sizes[name] for name in dead}
        found |= {f"health/dead_units/{name}": value for name, value in dead.items()}
        for table in self._tables:
            found |= table.figures()
        self._sizes, self._alive, self._slopes, self._steepest = {}, {}, {}, {}
        return found

    def beginning_of(self, batch: Batch, forward: Callable[[], object]) -> str:
        """Where a loss that is too large or no number begins, in forward order; nothing if nothing is found.

        Args:
            batch: that has this loss.
            forward: gives the batch to the model.
        """
        return _bad_input(batch) or self._bad_table() or self._bad_layer(forward)

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        parts = (self._began, self._sizes, self._alive, self._slopes, self._steepest)
        return {
            "parts": [dict(part) for part in parts],
            "rows": [table.seen for table in self._tables],
            "still": list(self._still),
            "known": list(self._known),
            "said": list(self._said),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was asked, and says again what was said."""
        self._began, self._sizes, self._alive, self._slopes, self._steepest = state["parts"]
        self._still, self._known, self._said = state["still"], state["known"], state["said"]
        for table, seen in zip(self._tables, state["rows"], strict=True):
            table.seen = seen
        for text in self._said:
            self._say(text)

    def _note(self, name: str, layer: nn.Module, mask: Tensor | None, out: Tensor) -> None:
        _merge(self._sizes, name, _size(out), torch.maximum)
        if isinstance(layer, _ACTIVATIONS):
            on = out != 0 if mask is None else (out != 0) & mask.unsqueeze(-1)
            _merge(self._alive, name, on.flatten(0, -2).any(0), torch.logical_or)

    def _judge_gradients(self, slopes: Mapping[str, float]) -> None:
        largest = max(slopes.values(), default=0.0)
        still = {name: share for name, share in slopes.items() if share < min(_STANDS_STILL, _BEHIND * largest)}
        self._complain(
            "vanishing",
            {name: share for name, share in still.items() if name in self._still},
            f"gradients vanish ({{:.1g}} of the weights; {largest:.1g} in the layer that learns fastest): nothing is "
            "learned there; try activation: relu, norm: layer, fewer layers or another initialiser; for attention, "
            "a larger embedding_std",
        )
        self._still = list(still)
        self._complain(
            "steep",
            {name: float(value) for name, value in self._steepest.items() if value > _STEEP},
            "gradients explode (up to {:.1g} times the weights); try a gradient_clip, a smaller "
            "optimiser.learning_rate, or a warmup of its schedule",
        )

    def _judge_outputs(self, sizes: Mapping[str, float]) -> None:
        self._complain(
            "grown",
            {name: size for name, size in sizes.items() if self._grown(name, size)},
            "outputs explode (now {:.1g} on average, a hundred times what they began with); try a smaller "
            "optimiser.learning_rate, a gradient_clip or norm: layer",
        )

    def _judge_units(self, dead: Mapping[str, float]) -> None:
        self._complain(
            "dead",
            {name: share for name, share in dead.items() if share > _MANY},
            "{:.0%} of the units are dead, they give 0 whatever comes in; try a smaller optimiser.learning_rate, "
            "activation: prelu or norm: layer",
        )

    def _judge_rows(self) -> None:
        for table in self._tables:
            # A row that is zero and never met says nothing, as it should.
            for name, share in () if table.starts_at_zero else table.dead().items():
                self._complain(
                    f"rows of {name}",
                    {table.name: share} if share > _MANY else {},
                    f"{{:.0%}} of the rows of {name} are dead, they never had a gradient and stay as they were drawn; "
                    "if such rare values are to learn, let them share a row: raise min_count of the feature",
                )

    def _complain(self, what: str, layers: Mapping[str, float], text: str) -> None:
        """Says what is wrong with layers, of those of which it was not said yet; `text` has a place for the worst."""
        new = {name: value for name, value in layers.items() if f"{what}: {name}" not in self._known}
        if new:
            self._known += [f"{what}: {name}" for name in new]
            self._said.append(f"{_named(list(new))}: {text.format(max(new.values()))}")
            self._say(self._said[-1])

    def _grown(self, name: str, size: float) -> bool:
        """Whether it is no number, or much larger than at the beginning."""
        return not size < _GROWN * max(float(self._began.get(name, 1.0)), 1.0)

    def _bad_table(self) -> str:
        for table in self._tables:
            size = float(_size(table.weight))
            if self._grown(table.name, size):
                return f"layer {table.name}, whose weights are {_shown(size)}"
        return ""

    def _bad_layer(self, forward: Callable[[], object]) -> str:
        found: list[str] = []

        def note(name: str, layer: nn.Module, _: Tensor | None, out: Tensor) -> None:
            bad = [own for own, values in layer.named_parameters(recurse=False) if not torch.isfinite(values).all()]
            size = float(_size(out))
            if bad:
                found.append(f"layer {name}, whose {bad[0]} is not finite")
            elif self._grown(name, size):
                found.append(f"layer {name}, whose outputs are {_shown(size)}")

        with torch.no_grad(), _watched(self._model, note):
            forward()
        return next(iter(found), "")


@contextmanager
def _watched(model: nn.Module, note: Note) -> Iterator[None]:
    """Notes what every layer gives inside: modules with weights of their own, activations, and the model itself."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def heard(layer: nn.Module, given: Any, out: Any) -> None:  # noqa: ANN401
            if isinstance(out, Tensor) and out.numel():
                mask = given[1] if isinstance(layer, _ACTIVATIONS) and len(given) > 1 else None
                note(name, layer, mask, out.detach())

        return heard

    hooks = []
    for name, layer in model.named_modules():
        own = next(layer.parameters(recurse=False), None) is not None
        if own or not name or isinstance(layer, _ACTIVATIONS):
            hooks.append(layer.register_forward_hook(hook(name.removesuffix(".activation") or "output")))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _merge(kept: dict[str, Tensor], name: str, new: Tensor, how: Callable[[Tensor, Tensor], Tensor]) -> None:
    """What was kept may be of another device: a run that goes on begins with what lay on the disk."""
    kept[name] = how(kept[name].to(new.device), new) if name in kept else new


def _size(values: Tensor) -> Tensor:
    """Mean absolute value: a mean of squares would overflow where the numbers do not."""
    total: Tensor = torch.linalg.vector_norm(values.detach(), 1, dtype=torch.float32)
    return total / values.numel()


def _norms(parameter: Tensor) -> tuple[Tensor, Tensor]:
    """Of the gradient and of the weights, of a table with sparse gradients those of the step's rows.

    A gradient that is not finite counts as 0: scaling of losses has such steps, and leaves them out.
    """
    gradient, weights = parameter.grad, parameter
    assert gradient is not None
    if gradient.is_sparse:
        gradient = parameter.grad = summed(gradient)
        weights = parameter.index_select(0, gradient.indices()[0])
        gradient = gradient.values()
    norm = torch.linalg.vector_norm(gradient).nan_to_num(nan=0.0, posinf=0.0)
    return norm, torch.linalg.vector_norm(weights)


def _bad_input(batch: Batch) -> str:
    extra = {"the labels": batch.labels, "the weights of samples": batch.weight}
    named = {f"input {name}": values for name, values in batch.inputs.items()} | extra
    for name, values in named.items():
        bad = 0 if values is None or not values.is_floating_point() else int((~torch.isfinite(values)).sum())
        if values is not None and bad:
            return f"{name}, where {bad} of {values.numel()} values are not finite: look at the column it is made of"
    return ""


def _shown(size: float) -> str:
    return f"{size:.2g} on average" if size < float("inf") else "not finite"


def _named(layers: Sequence[str]) -> str:
    return f"{'layer' if len(layers) == 1 else 'layers'} {', '.join(layers)}"
