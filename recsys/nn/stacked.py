"""Model inputs side by side in a few tensors, so that a graph has no operation a field."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from recsys.features.batch import Field

__all__ = ["StackedInputs", "columns"]


class StackedInputs(Mapping[str, Tensor]):
    """Inputs by name, taken from tensors that hold several of them.

    Args:
        groups: fields with the same leading axes and type, and their values `(…, ΣW)` in that order.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Field], Tensor]]) -> None:
        self._groups = [tensor for _, tensor in groups]
        self._places: dict[str, tuple[int, int, int]] = {}
        for number, (fields, _) in enumerate(groups):
            first = 0
            for field in fields:
                self._places[field.name] = (number, first, field.width)
                first += field.width

    def __getitem__(self, name: str) -> Tensor:
        group, first, width = self._places[name]
        values = self._groups[group]
        return values[..., first] if width == 1 else values[..., first : first + width]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def columns(self, names: Sequence[str]) -> Tensor:
        """`(…, ΣW)` the values of inputs of one group, in this order."""
        places = [self._places[name] for name in names]
        values = self._groups[places[0][0]]
        wanted = [column for _, first, width in places for column in range(first, first + width)]
        if wanted == list(range(values.shape[-1])):
            return values
        return values.index_select(-1, torch.tensor(wanted, device=values.device))


def columns(inputs: Mapping[str, Tensor], fields: Sequence[Field]) -> Tensor:
    """`(…, ΣW)` the values of fields that share their leading axes, side by side."""
    if isinstance(inputs, StackedInputs):
        return inputs.columns([field.name for field in fields])
    return torch.cat(
        [inputs[field.name] if field.width > 1 else inputs[field.name].unsqueeze(-1) for field in fields], dim=-1
    )
