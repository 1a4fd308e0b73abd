"""Parts of the requests and of the catalogue that are looked at on their own."""

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Codes

__all__ = ["HISTORY_SLICES", "POPULARITY_SLICES", "history_slice", "popularity_slice"]

Slices = NDArray[np.intp]

_HISTORY_FROM = (0, 1, 10, 50, 200)
HISTORY_SLICES = ("0", "1-9", "10-49", "50-199", "200+")
"""Names of the slices by history length."""

_HEAD, _TORSO = 0.1, 0.5
POPULARITY_SLICES = ("head", "torso", "tail")
"""The most popular tenth of the catalogue, the next four tenths, and the rest."""


def history_slice(lengths: NDArray[np.integer]) -> Slices:
    """`(Q,)` position in `HISTORY_SLICES` of each history length.

    Example:
        >>> history_slice(np.array([0, 9, 10, 5000])).tolist()
        [0, 1, 2, 4]
    """
    return np.searchsorted(_HISTORY_FROM, lengths, side="right") - 1


def popularity_slice(popularity: NDArray[np.floating]) -> Slices:
    """`(N,)` position in `POPULARITY_SLICES` of each item; ties go to the smaller code.

    Items that nobody has touched are tail, however small the catalogue.

    Args:
        popularity: `(N,)` event counts.

    Example:
        >>> popularity_slice(np.array([0, 9, 4, 4, 4, 3, 2, 1, 1, 1])).tolist()
        [2, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    """
    order: Codes = np.lexsort((np.arange(len(popularity)), -popularity)).astype(np.int32)
    share = np.empty(len(order))
    share[order] = np.arange(len(order)) / max(len(order), 1)
    touched = popularity > 0
    return np.where(touched & (share < _HEAD), 0, np.where(touched & (share < _TORSO), 1, 2))
