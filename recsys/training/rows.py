"""An optimiser of embedding tables that touches only the rows of the step.

A step of a large table moves a few of its rows. torch's own optimisers of sparse gradients come to the same weights in
ten times the time, most of which goes into adding sparse tensors to one another.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["RowOptimiser", "RowRule", "summed"]

RowRule = Literal["sgd", "adagrad", "adam"]


class RowOptimiser(Optimizer):
    """SGD, Adagrad (Duchi 2011) or Adam (Kingma 2015) of rows whose gradients are sparse.

    Only rows with a gradient are moved, and only their moments decay, as in `torch.optim.SparseAdam`. Row 0 is never
    moved: it is the padding of an `EmbeddingCollection`.

    Args:
        tables: weights `(N, D)` with sparse gradients.
        rule: how rows are moved.
        lr: the learning rate.
        rowwise: one second moment a row instead of D.
        weight_decay: on rows that have a gradient.
        decoupled: takes the decay off the weights (Loshchilov and Hutter 2019) instead of adding it to the gradients.
        l1: on rows that have a gradient.
    """

    def __init__(
        self,
        tables: Iterable[Tensor],
        rule: RowRule,
        *,
        lr: float,
        rowwise: bool = False,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        l1: float = 0.0,
    ) -> None:
        super().__init__(tables, {"lr": lr, "weight_decay": weight_decay, "l1": l1})
        self._moments, self._change = _RULES[rule]
        self._rowwise = rowwise
        self._decoupled = decoupled

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401
        """Moves the rows that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        known = _Distinct()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, group, known)
        return loss

    def _move(self, table: Tensor, group: dict[str, Any], known: "_Distinct") -> None:
        state = self._state(table)
        state["step"] += 1
        assert table.grad is not None
        gradient = summed(table.grad, known)
        rows, values = gradient.indices()[0], gradient.values()
        weights = table.index_select(0, rows)
        if group["l1"]:
            values = values + group["l1"] * weights.sign()
        if group["weight_decay"] and not self._decoupled:
            values = values + group["weight_decay"] * weights
        moments = {name: state[name].index_select(0, rows) for name in self._moments}
        change = self._change(values, moments, int(state["step"]))
        if group["weight_decay"] and self._decoupled:
            change += group["weight_decay"] * weights
        for name, part in moments.items():
            state[name].index_copy_(0, rows, part)
        table.index_copy_(0, rows, weights.sub_(change, alpha=group["lr"]))

    def _state(self, table: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[table]
        if not state:
            state["step"] = 0
            for name in self._moments:
                width = 1 if name == "squares" and self._rowwise else table.shape[1]
                state[name] = table.new_zeros(len(table), width)
        return state


class _Distinct:
    """Distinct rows in ascending order, and where each given row is among them.

    Tables of the same fields, as the vectors and the weights of a factorisation machine, have gradients at the same
    rows: what was found for one is remembered for the next.
    """

    def __init__(self) -> None:
        self._given: Tensor | None = None
        self._found: tuple[Tensor, Tensor] | None = None

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if self._found is None or self._given is None or not torch.equal(self._given, rows):
            self._given, self._found = rows, torch.unique(rows, return_inverse=True)
        return self._found


def summed(gradient: Tensor, distinct: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None) -> Tensor:
    """A sparse gradient `(N, D)` with each row once, in ascending order, and without row 0, which is padding.

    One that is so already is given back as it is. Three times as fast as `coalesce` on a CPU.

    Args:
        gradient: sparse.
        distinct: gives the distinct rows, and where each is among them; `None`: they are sought.
    """
    if gradient.is_coalesced():
        return gradient
    rows, places = (distinct or _Distinct())(gradient._indices()[0])
    given = gradient._values()
    values = given.new_zeros(len(rows), given.shape[1]).index_add_(0, places, given)
    if len(rows) and rows[0] == 0:
        rows, values = rows[1:], values[1:]
    return torch.sparse_coo_tensor(rows.unsqueeze(0), values, gradient.shape, is_coalesced=True, check_invariants=False)


def _sgd(gradient: Tensor, _: dict[str, Tensor], __: int) -> Tensor:
    return gradient.clone()


def _adagrad(gradient: Tensor, moments: dict[str, Tensor], _: int) -> Tensor:
    squares = moments["squares"]
    return gradient / squares.add_(_squared(gradient, squares)).sqrt().add_(1e-10)


def _adam(gradient: Tensor, moments: dict[str, Tensor], step: int) -> Tensor:
    squares = moments["squares"]
    means = moments["means"].lerp_(gradient, 1 - 0.9)
    roots = squares.lerp_(_squared(gradient, squares), 1 - 0.999).sqrt().add_(1e-8)
    # As in SparseAdam, epsilon stands beside the uncorrected root.
    return (means / roots).mul_(math.sqrt(1 - 0.999**step) / (1 - 0.9**step))


def _squared(gradient: Tensor, like: Tensor) -> Tensor:
    """Squares, or their mean over a row where one number is kept a row."""
    squares = gradient.square()
    return squares if squares.shape == like.shape else squares.mean(dim=1, keepdim=True)


_Change = Callable[[Tensor, dict[str, Tensor], int], Tensor]
_RULES: dict[RowRule, tuple[tuple[str, ...], _Change]] = {
    "sgd": ((), _sgd),
    "adagrad": (("squares",), _adagrad),
    "adam": (("means", "squares"), _adam),
}
