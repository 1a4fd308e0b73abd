"""How much of the catalogue is ever shown, and how evenly."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["catalogue_coverage", "gini"]


def catalogue_coverage(codes: NDArray[np.int32], n_items: int) -> float:
    """Share of the catalogue in at least one list.

    Args:
        codes: item codes of any shape, −1 pads.
        n_items: size of the catalogue.
    """
    return len(np.unique(codes[codes >= 0])) / n_items


def gini(codes: NDArray[np.int32], n_items: int) -> float:
    """Gini coefficient of how often each item is shown: 0 all alike, towards 1 a few items everywhere.

    Args:
        codes: item codes of any shape, −1 pads.
        n_items: size of the catalogue; items never shown count.
    """
    counts = np.sort(np.bincount(codes[codes >= 0].ravel(), minlength=n_items))
    total = counts.sum()
    if total == 0:
        return 0.0
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((weights * counts).sum() / (n_items * total))
