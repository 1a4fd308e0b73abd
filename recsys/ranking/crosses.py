"""Crosses of categories named by hand: a category for every combination of their values."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from recsys.errors import ConfigError
from recsys.features.batch import Field

__all__ = ["Cross", "crosses_of"]

_MULTIPLIER = 1_000_003
_PRIME = 2_147_483_647
"""2³¹ − 1: products of two numbers below it fit 64 bits."""


class Cross:
    """The cross-product transformation of two or more categorical inputs (Cheng 2016, equation 1).

    A combination has a row of its own while all of them fit `buckets`; otherwise it is hashed to one of them. A
    multi-valued input takes part with each of its values. A combination with padding is padding.

    Args:
        parts: inputs, all index fields.
        buckets: rows at most, without padding.
    """

    def __init__(self, parts: Sequence[Field], buckets: int) -> None:
        combinations = math.prod(part.rows - 1 for part in parts)
        rows = 1 + min(combinations, buckets)
        side = "item" if any(part.side in ("item", "route") for part in parts) else "user"
        name = f"{side}.{'×'.join(part.name for part in parts)}"
        self.parts = tuple(parts)
        self.hashed = combinations > buckets
        self.field = Field(name, rows, math.prod(part.width for part in parts), name)

    def values(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Rows of the cross: `(B,)` or `(B, C)`, with a last axis W where a part is multi-valued."""
        rows, real = self._part(inputs, self.parts[0])
        for part in self.parts[1:]:
            values, there = self._part(inputs, part)
            pairs = rows.unsqueeze(-1) * (_MULTIPLIER if self.hashed else part.rows - 1) + values.unsqueeze(-2)
            rows = (pairs % _PRIME if self.hashed else pairs).flatten(-2)
            real = (real.unsqueeze(-1) & there.unsqueeze(-2)).flatten(-2)
        found = (1 + (rows % (self.field.rows - 1) if self.hashed else rows)) * real
        return found if self.field.width > 1 else found.squeeze(-1)

    def _part(self, inputs: Mapping[str, Tensor], part: Field) -> tuple[Tensor, Tensor]:
        """A part's rows from zero `(…, W)`, and where they are real; the request's with an axis for candidates."""
        values = inputs[part.name] if part.width > 1 else inputs[part.name].unsqueeze(-1)
        if self.field.side == "item" and part.side in ("user", "context"):
            values = values.unsqueeze(1)
        return (values - 1).clamp(min=0), values > 0


def crosses_of(fields: Sequence[Field], named: Sequence[Sequence[str]], buckets: int) -> list[Cross]:
    """The crosses that a configuration names.

    Args:
        fields: inputs of the ranker.
        named: names of the inputs of each cross.
        buckets: of each.

    Raises:
        ConfigError: a name is no categorical input of user, context, item or route.
    """
    known = {field.name: field for field in fields if field.is_index and field.side != "history"}
    for name in (name for names in named for name in names):
        if name not in known:
            raise ConfigError(
                f"ranking.model.crosses: {name} is no categorical input of the model; there are {', '.join(known)}"
            )
    return [Cross([known[name] for name in names], buckets) for names in named]
