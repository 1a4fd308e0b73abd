"""Embeddings of all index fields in one fused table."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.features.batch import Field
from recsys.nn.stacked import columns

__all__ = ["SPARSE_ROWS", "EmbeddingCollection", "NumberVectors"]

SPARSE_ROWS = 100_000
"""Above this many rows gradients are sparse: below it, a dense Adam step costs less than sorting the touched rows."""


class EmbeddingCollection(nn.Module):
    """One embedding vector for each index field, from one fused table.

    Fields that name the same table share its rows. Row 0 of every table is the one padding row of the fused table: it
    is zero and gets no gradient. A multi-valued field is the mean over its values that are not padding, by gather and
    masked sum (`EmbeddingBag` turns into a loop when exported).

    Args:
        fields: index fields of any sides.
        dim: length D of a vector.
        std: of the initial values; 0 starts at zero.
        sparse: sparse gradients; `None` decides by the number of rows.

    Raises:
        ValueError: a field is numeric, or two fields give one table different numbers of rows.
    """

    def __init__(self, fields: Sequence[Field], dim: int, *, std: float = 0.01, sparse: bool | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.fields = tuple(fields)
        self.offsets, rows = _layout(self.fields)
        self.sparse = rows > SPARSE_ROWS if sparse is None else sparse
        self.weight = nn.Parameter(torch.randn(rows, dim) * std)
        with torch.no_grad():
            self.weight[0] = 0.0

    def forward(self, inputs: Mapping[str, Tensor], fields: Sequence[Field]) -> Tensor:
        """Embeds fields that share their leading axes.

        Args:
            inputs: for each field int64 rows `(…)`, or `(…, W)` for a multi-valued field of width W.
            fields: F fields of this collection, all of the request side, the candidates or the history.

        Returns:
            `(…, F, D)`.
        """
        return self.together(inputs, fields)[0]

    def together(self, inputs: Mapping[str, Tensor], *groups: Sequence[Field]) -> list[Tensor]:
        """Embeds several groups of fields, each with leading axes of its own, by one gather.

        In training, that saves adding the groups' gradients to one another, which of large tables takes longer than all
        the rest.

        Args:
            inputs: as above.
            groups: of fields, as above.

        Returns:
            `(…, F, D)` for each group.
        """
        if not all(groups):
            raise ValueError("no fields to embed; expected at least one")
        rows = [self.rows(inputs, fields) for fields in groups]
        # Of sparse gradients the optimiser leaves out the padding row, in a quarter of the time.
        padding = None if self.sparse else 0
        places = rows[0] if len(rows) == 1 else torch.cat([part.flatten() for part in rows])
        vectors = functional.embedding(places, self.weight, padding_idx=padding, sparse=self.sparse)
        if len(rows) == 1:
            return [_pooled(inputs, groups[0], vectors)]
        parts = torch.split(vectors, [part.numel() for part in rows])
        return [
            _pooled(inputs, fields, part.view(*places.shape, self.dim))
            for fields, part, places in zip(groups, parts, rows, strict=True)
        ]

    def rows(self, inputs: Mapping[str, Tensor], fields: Sequence[Field]) -> Tensor:
        """`(…, ΣW)` rows of the fused table, 0 at padding, for fields that share their leading axes."""
        rows = columns(inputs, fields)
        offsets = [self.offsets[field.table] for field in fields for _ in range(field.width)]
        return rows + torch.tensor(offsets, device=rows.device) * (rows > 0)


class NumberVectors(nn.Module):
    """A number as a vector: the number times a vector of its own, so that it meets other vectors as a category does.

    `(…, R)` to `(…, R, D)`; R may be 0.

    Args:
        features: R.
        dim: D.
        std: of the initial values.
    """

    def __init__(self, features: int, dim: int, *, std: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, dim) * std)

    def forward(self, numbers: Tensor) -> Tensor:
        """`(…, R)` to `(…, R, D)`."""
        return numbers.unsqueeze(-1) * self.weight


def _layout(fields: Sequence[Field]) -> tuple[dict[str, int], int]:
    """Where each table's row 0 would lie in the fused table, and the number of rows of all of them."""
    offsets: dict[str, int] = {}
    sizes: dict[str, tuple[int, str]] = {}
    total = 1
    for field in fields:
        if not field.is_index:
            raise ValueError(f"{field.name}: numeric; expected an index field")
        rows, first = sizes.setdefault(field.table, (field.rows, field.name))
        if rows != field.rows:
            raise ValueError(
                f"{field.name}: {field.rows} rows in table {field.table!r}, but {first} says {rows}; expected the same"
            )
        if field.table not in offsets:
            offsets[field.table] = total - 1
            total += field.rows - 1
    return offsets, total


def _pooled(inputs: Mapping[str, Tensor], fields: Sequence[Field], vectors: Tensor) -> Tensor:
    """`(…, ΣW, D)` to `(…, F, D)`."""
    if all(field.width == 1 for field in fields):
        return vectors
    parts = torch.split(vectors, [field.width for field in fields], dim=-2)
    pooled = [
        part if field.width == 1 else _masked_mean(part, inputs[field.name] > 0)
        for part, field in zip(parts, fields, strict=True)
    ]
    return torch.cat(pooled, dim=-2)


def _masked_mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """`(…, W, D)` and `(…, W)` to `(…, 1, D)`; padding vectors are zero already."""
    count = mask.sum(-1, keepdim=True).clamp(min=1).to(vectors.dtype)
    return vectors.sum(-2, keepdim=True) / count.unsqueeze(-1)
