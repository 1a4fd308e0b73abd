"""How good lists are in truth, where the truth is known: on a simulated world."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation.results import AT, FUNNEL, TruthResult
from recsys.features.batch import Codes, Floats
from recsys.metrics.bootstrap import intervals

__all__ = ["Truth", "judge"]

_CHUNK = 512
"""Requests whose best lists are looked for together: bounds memory."""


@dataclass(frozen=True, slots=True)
class Truth:
    """True click probabilities: `sigmoid(user · item)`.

    Attributes:
        users: `(U, E)` by user code.
        items: `(N, E)` by item code.
    """

    users: Floats
    items: Floats

    def probabilities(self, users: NDArray[np.integer], codes: Codes) -> Floats:
        """`(Q, k)` of the items `(Q, k)` for the users `(Q,)`; 0 at −1."""
        logits = np.einsum("qe,qke->qk", self.users[users], self.items[np.maximum(codes, 0)])
        return np.where(codes >= 0, _sigmoid(logits), np.float32(0))

    def best(self, users: NDArray[np.integer], k: int) -> Floats:
        """`(Q, k)` the largest probabilities of any items, descending; 0 where there are fewer items."""
        best = np.zeros((len(users), k), dtype=np.float32)
        width = min(k, len(self.items))
        for start in range(0, len(users), _CHUNK):
            logits = self.users[users[start : start + _CHUNK]] @ self.items.T
            top = np.partition(logits, logits.shape[1] - width, axis=1)[:, logits.shape[1] - width :]
            best[start : start + len(top), :width] = _sigmoid(-np.sort(-top, axis=1))
        return best


def judge(
    truth: Truth, users: NDArray[np.integer], top: Mapping[str, Codes], rng: np.random.Generator, *, resamples: int
) -> TruthResult:
    """Measures the lists of every stage.

    Args:
        truth: what users would click.
        users: `(Q,)` who asked.
        top: by stage, `(Q, 10)` item codes, padded with −1; one stage is the funnel.
        rng: of the resamples.
        resamples: behind each interval.
    """
    discount = 1.0 / np.log2(np.arange(2, AT + 2))
    best = truth.best(users, AT)
    gains = {stage: truth.probabilities(users, codes[:, :AT]) for stage, codes in top.items()}
    shares = [(gain @ discount) / (best @ discount) for gain in gains.values()]
    lost = best.mean(axis=1) - gains[FUNNEL].mean(axis=1)
    measured = intervals(np.stack([*shares, lost], axis=1), rng, resamples=resamples)
    return TruthResult(dict(zip(gains, measured, strict=False)), measured[-1])


def _sigmoid(x: Floats) -> Floats:
    return (1.0 / (1.0 + np.exp(-x))).astype(np.float32)
