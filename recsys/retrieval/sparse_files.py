"""Sparse matrices as three arrays."""

from pathlib import Path

import numpy as np
from scipy import sparse

from recsys.retrieval.static import read_array

__all__ = ["load_sparse", "save_sparse"]

_PARTS = ("data", "indices", "indptr")


def save_sparse(matrix: sparse.csr_matrix, folder: Path) -> None:
    """Writes one `.npy` a part into an existing folder."""
    for part in _PARTS:
        np.save(folder / f"{part}.npy", getattr(matrix, part), allow_pickle=False)


def load_sparse(folder: Path, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Reads what `save_sparse` wrote.

    Raises:
        ArtifactError: a file is missing or unreadable.
        ValueError: the parts do not make a matrix of that shape.
    """
    data, indices, indptr = (read_array(folder / f"{part}.npy") for part in _PARTS)
    matrix = sparse.csr_matrix((data, indices, indptr), shape=shape)
    # scipy trusts its input: an index out of range would read foreign memory.
    matrix.check_format(full_check=True)
    return matrix
