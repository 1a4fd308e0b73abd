"""A logistic regression on the leaves of trees."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

__all__ = ["leaf_weights"]


def leaf_weights(
    places: NDArray[np.int32],
    leaves: int,
    labels: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    l2: float,
    offset: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Weights of leaves, and a bias, that make Σ weight · log loss + l2/2 · ‖weights of leaves‖² smallest.

    He 2014, section 3.1: each tree is a categorical input whose values are its leaves.

    Args:
        places: `(n, trees)` the leaf of each tree, among all leaves.
        leaves: how many there are.
        labels: `(n,)` 0 or 1.
        weight: `(n,)` how much each counts; `None`: all the same.
        l2: on the weights.
        offset: `(n,)` added to what leaves and bias say before the loss sees it; `None`: nothing is.
    """
    n, trees = places.shape
    ones = csr_matrix((np.ones(places.size), places.ravel(), np.arange(0, places.size + 1, trees)), shape=(n, leaves))
    counts = np.ones(n) if weight is None else weight.astype(np.float64)
    above = np.zeros(n) if offset is None else offset.astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = parameters[:-1], parameters[-1]
        logits = ones @ weights + bias + above
        value = counts @ (np.logaddexp(0, logits) - labels * logits) + l2 / 2 * weights @ weights
        residual = counts * (1 / (1 + np.exp(-logits)) - labels)
        return float(value), np.append(ones.T @ residual + l2 * weights, residual.sum())

    # In units of the mean, so that the tolerances mean the same for any number of samples.
    scale = 1 / counts.sum()

    def scaled(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = loss(parameters)
        return value * scale, gradient * scale

    found = minimize(scaled, np.zeros(leaves + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-7})
    return found.x[:-1], float(found.x[-1])
