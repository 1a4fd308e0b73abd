"""Penalties on embeddings."""

import torch
from torch import Tensor, nn

from recsys.nn.embedding import EmbeddingCollection

__all__ = ["BatchAwareL2"]


class BatchAwareL2(nn.Module):
    """Mini-batch aware regularisation: Σ ‖w_j‖² / n_j over the rows j of a batch (Zhou 2018, equation 6).

    n_j is how often the training samples hold j: over an epoch, a row that is met in n_j batches is penalised once.

    Args:
        rows: of the fused table.
    """

    counts: Tensor

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(rows), persistent=False)

    def count(self, rows: Tensor) -> None:
        """Takes part of the training samples in: rows of any shape."""
        self.counts += torch.bincount(rows.flatten(), minlength=len(self.counts))

    def forward(self, rows: Tensor, embeddings: EmbeddingCollection) -> Tensor:
        """The penalty of a batch's rows, of any shape; the padding row has none."""
        met: Tensor = torch.unique(rows[rows > 0])
        vectors = nn.functional.embedding(met, embeddings.weight, sparse=embeddings.sparse)
        return (vectors.square().sum(-1) / self.counts[met].clamp(min=1)).sum()
