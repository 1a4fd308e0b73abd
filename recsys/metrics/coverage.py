"""How the recommended items spread over the catalogue."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["catalogue_coverage", "gini"]


def catalogue_coverage(codes: NDArray[np.integer], n_items: int) -> float:
    """Share of the catalogue that at least one list holds.

    Args:
        codes: `(Q, K)` item codes, −1 for padding.
        n_items: items of the catalogue.

    Returns:
        A value in [0, 1].

    Example:
        >>> catalogue_coverage(np.array([[0, 1], [1, -1]]), n_items=4)
        0.5
    """
    return float(np.count_nonzero(_counts(codes, n_items)) / n_items)


def gini(codes: NDArray[np.integer], n_items: int) -> float:
    """Gini coefficient of how often each item of the catalogue is recommended.

    Args:
        codes: `(Q, K)` item codes, −1 for padding.
        n_items: items of the catalogue; those never recommended count as 0.

    Returns:
        0 when every item is recommended equally often, 1 − 1/n when one item has every place; NaN without items.

    Example:
        >>> gini(np.array([[0, 1], [2, 3]]), n_items=4), gini(np.array([[2], [2]]), n_items=4)
        (0.0, 0.75)
    """
    counts = np.sort(_counts(codes, n_items))
    total = counts.sum()
    if not total:
        return float("nan")
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((weights @ counts) / (n_items * total))


def _counts(codes: NDArray[np.integer], n_items: int) -> NDArray[np.int64]:
    return np.bincount(codes[codes >= 0].astype(np.int64), minlength=n_items).astype(np.int64)
