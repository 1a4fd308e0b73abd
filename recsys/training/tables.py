"""Which rows of embedding tables learn."""

import torch
from torch import nn

from recsys.nn.embedding import EmbeddingCollection

__all__ = ["FollowedTable", "followed_tables"]

_SAMPLE = 1000
"""Rows of a table that are followed, evenly spaced, where gradients are dense: to look at all would take long."""


class FollowedTable:
    """The fused table of an `EmbeddingCollection`, and which of its rows had a gradient.

    Args:
        name: of the collection.
        collection: whose weight is trained.

    Attributes:
        seen: `(n,)` bool, of the rows that are followed.
        starts_at_zero: whether all weights were zero at the beginning.
    """

    def __init__(self, name: str, collection: EmbeddingCollection) -> None:
        self.name = name
        self.weight = collection.weight
        self._sparse = collection.sparse
        # Row 0 pads and has no gradient.
        rows = {field.table: range(1, field.rows) for field in collection.fields if field.rows > 1}
        self._rows = {
            table: range(collection.offsets[table] + own.start, collection.offsets[table] + own.stop)
            for table, own in rows.items()
        }
        followed = [] if self._sparse else [row for own in self._rows.values() for row in _spaced(own)]
        self._followed = torch.tensor(followed, dtype=torch.int64)
        self.seen = torch.zeros(len(self.weight) if self._sparse else len(followed), dtype=torch.bool)
        self.starts_at_zero = not bool(self.weight.detach().any())

    @torch.no_grad()
    def touched(self) -> None:
        """Takes the gradient of a step."""
        gradient = self.weight.grad
        if gradient is None:
            return
        self.seen = self.seen.to(gradient.device)
        if gradient.is_sparse:
            self.seen.index_fill_(0, gradient._indices()[0], True)
            return
        self._followed = self._followed.to(gradient.device)
        self.seen |= gradient.index_select(0, self._followed).any(1)

    def dead(self) -> dict[str, float]:
        """Share of rows that never had a gradient, by table."""
        seen = self.seen.cpu()
        if self._sparse:
            parts = [seen[own.start : own.stop] for own in self._rows.values()]
        else:
            parts = list(torch.split(seen, [len(_spaced(own)) for own in self._rows.values()]))
        return {table: 1 - float(part.float().mean()) for table, part in zip(self._rows, parts, strict=True)}

    def figures(self) -> dict[str, float]:
        """Shares of all rows: those that never had a gradient, and those that are zero though they did not begin so."""
        total = sum(map(len, self._rows.values()))
        if not total:
            return {}
        dead = sum(len(self._rows[table]) * share for table, share in self.dead().items()) / total
        found = {f"health/dead_rows/{self.name}": dead}
        if not self.starts_at_zero:
            found[f"health/zero_rows/{self.name}"] = 1 - float(self.weight.detach()[1:].any(1).float().mean())
        return found


def followed_tables(model: nn.Module) -> list[FollowedTable]:
    """Those of a model that are trained."""
    return [
        FollowedTable(name, part)
        for name, part in model.named_modules()
        if isinstance(part, EmbeddingCollection) and part.weight.requires_grad
    ]


def _spaced(rows: range) -> range:
    """Some of the rows, evenly spaced, or all if they are few."""
    return rows[:: -(-len(rows) // _SAMPLE)]
