"""What is drawn by count: negatives by the alias method, tokens kept by subsampling."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["alias_table", "keep_probabilities", "negative_weights"]


def keep_probabilities(counts: NDArray[np.int64], *, subsample: float) -> NDArray[np.float32]:
    """`(N,)` how probably an occurrence of each token is kept: √(t/f) + t/f at frequency f, at most 1; 0 at count 0.

    What `word2vec.c` does; Mikolov 2013b, section 2.3, states √(t/f) alone.

    Args:
        counts: `(N,)` occurrences.
        subsample: t; 0 keeps every occurrence.
    """
    known = counts > 0
    keep = known.astype(np.float64)
    if subsample > 0:
        share = subsample * counts.sum() / counts[known]
        keep[known] = np.minimum(1.0, np.sqrt(share) + share)
    return keep.astype(np.float32)


def negative_weights(counts: NDArray[np.int64], *, power: float) -> NDArray[np.float64]:
    """`(N,)` probabilities of being drawn as a negative: count^power over its sum, 0 at count 0 whatever the power."""
    weights = np.zeros(len(counts))
    known = counts > 0
    # Logarithms from the largest down, so that no power overflows.
    logs = power * np.log(counts[known])
    weights[known] = np.exp(logs - logs.max(initial=-np.inf))
    weights /= max(weights.sum(), np.finfo(np.float64).tiny)
    return weights


def alias_table(probabilities: NDArray[np.float64]) -> NDArray[np.uint32]:
    """`(N, 2)` threshold of 2³² and alias: draw a row evenly, stay on it if 32 more bits lie under the threshold.

    Exact to 2⁻³² a row, where a table of repeated tokens loses the rarest; a row is one memory access (Vose 1991).

    Args:
        probabilities: `(N,)` that sum to 1.
    """
    size = len(probabilities)
    scaled = (probabilities * size).tolist()
    alias = list(range(size))
    small = [row for row, value in enumerate(scaled) if value < 1.0]
    large = [row for row, value in enumerate(scaled) if value >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        alias[low] = high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            small.append(large.pop())
    for row in small + large:
        # What rounding left over. A row of no probability must not stay.
        scaled[row] = float(probabilities[row] > 0)
        alias[row] = row if probabilities[row] > 0 else int(np.argmax(probabilities))
    thresholds = np.minimum(np.round(np.array(scaled) * 2.0**32), 2.0**32 - 1)
    return np.stack([thresholds.astype(np.uint32), np.array(alias, dtype=np.uint32)], axis=1)
