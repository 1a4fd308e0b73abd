"""Which items an index holds, and in which row of its vectors."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recsys.errors import DataError
from recsys.features.batch import Codes, Floats
from recsys.retrieval.static import read_array

__all__ = ["ItemRows"]

_FILE = "codes.npy"


@dataclass(frozen=True, slots=True)
class ItemRows:
    """The rows of an index and the items they belong to.

    Rows ascend with the codes of their items, so that a tie that goes to the smaller row goes to the smaller code.

    Attributes:
        codes: `(R + 1,)` item code of each row; the last entry is −1, so that row −1 is no item.
        rows: `(N + 1,)` row of each item code, −1 where the item has none; the last entry is −1.
        live: `(L,)` rows whose items have not been removed; `None`: all.
    """

    codes: Codes
    rows: Codes
    live: Codes | None = None

    @classmethod
    def of(cls, codes: NDArray[np.integer], n_items: int) -> Self:
        """Rows of items with these ascending codes, among N."""
        rows = np.full(n_items + 1, -1, dtype=np.int32)
        rows[codes] = np.arange(len(codes), dtype=np.int32)
        return cls(np.append(codes, -1).astype(np.int32), rows)

    @classmethod
    def of_vectors(cls, vectors: Floats) -> Self:
        """Rows of the items whose vectors `(N, D)` are not zero."""
        return cls.of(_nonzero(vectors), len(vectors))

    @property
    def n_items(self) -> int:
        """N: codes given out, with or without a row."""
        return len(self.rows) - 1

    @property
    def removed(self) -> Codes:
        """Codes of the items whose rows do not count any more."""
        dead = self.rows[self.codes[:-1]] < 0
        return self.codes[:-1][dead]

    def among(self, allowed: Codes | None) -> Codes | None:
        """The rows of these items, of those that have one; `None` for all rows."""
        if allowed is None:
            return self.live
        rows = self.rows[allowed]
        return rows[rows >= 0]

    def extended(self, vectors: Floats) -> Self:
        """With the codes from N on for items with these vectors, and further rows for those that are not zero."""
        codes = np.concatenate([self.codes[:-1], self.n_items + _nonzero(vectors)])
        added = self.of(codes, self.n_items + len(vectors))
        return added.without(self.removed) if self.live is not None else added

    def without(self, codes: Codes) -> Self:
        """With no row for these items; the rows of others stay as they are.

        Raises:
            DataError: there is no such item.
        """
        unknown = codes[(codes < 0) | (codes >= self.n_items)]
        if len(unknown):
            raise DataError(f"index: found the code {unknown[0]}, expected 0 to {self.n_items - 1:,}")
        rows = self.rows.copy()
        rows[codes] = -1
        live = rows[rows >= 0]
        return replace(self, rows=rows, live=live if len(live) < len(self.codes) - 1 else None)

    def save(self, folder: Path) -> None:
        """Writes the code of each row into an existing folder."""
        np.save(folder / _FILE, self.codes[:-1], allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, n_rows: int, n_items: int) -> Self:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: the file is missing or unreadable.
            ValueError: these are no codes of so many rows and items.
        """
        codes = read_array(folder / _FILE)
        if codes.shape != (n_rows,) or codes.dtype != np.int32 or not _ascending(codes, n_items):
            raise ValueError(f"{_FILE}: expected {n_rows:,} ascending int32 codes below {n_items:,}")
        return cls.of(codes, n_items)


def _nonzero(vectors: Floats) -> NDArray[np.intp]:
    return np.flatnonzero(vectors.any(axis=1))


def _ascending(codes: Codes, n_items: int) -> bool:
    inside = len(codes) == 0 or (codes[0] >= 0 and codes[-1] < n_items)
    return bool(inside and (np.diff(codes) > 0).all())
