"""Negatives mined anew for every epoch: those that the model as it stands takes for positives."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.training.batches import Batch, Samples
from recsys.training.trainer import predict

__all__ = ["HardNegatives", "hardest"]

Bool = NDArray[np.bool_]
Places = NDArray[np.int32]


class HardNegatives:
    """Batches of the positives, the negatives that the model scores highest when the epoch begins, and unmined ones.

    Only the few negatives that come before the positive have much to teach; which these are changes as the model learns
    (Zhang 2013; Shrivastava 2016).

    Args:
        samples: Q groups of C labelled candidates, of one task.
        model: that learns; it scores all of them at the beginning of every epoch.
        count: mined negatives a group.
    """

    def __init__(self, samples: Samples, model: nn.Module, count: int) -> None:
        self._samples = samples
        self._model = model
        self._count = count
        self._places: Places | None = None
        self._resumed = False

    def __len__(self) -> int:
        """See `BatchSource`."""
        return len(self._samples)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """See `BatchSource`."""
        if self._places is None or not self._resumed:
            self._places = self._mined()
        self._resumed = False
        return self._samples.columns(self._places).epoch(rng)

    def state(self) -> dict[str, Tensor]:
        """Which candidates teach in the present epoch: the model that they were chosen by is gone."""
        return {} if self._places is None else {"places": torch.from_numpy(self._places)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on with the epoch in which `state` was asked."""
        if state:
            self._places, self._resumed = state["places"].numpy(), True

    def _mined(self) -> Places:
        training = self._model.training
        self._model.eval()
        scores = predict(self._model, self._samples)
        self._model.train(training)
        samples = self._samples
        unmined = np.zeros(samples.mask.shape, dtype=bool) if samples.unmined is None else samples.unmined
        return hardest(scores, samples.labels, samples.mask, unmined, self._count)


def hardest(scores: NDArray[np.float32], labels: NDArray[np.float32], mask: Bool, unmined: Bool, count: int) -> Places:
    """`(Q, K)` places of the candidates that teach, in their order, −1 where a group has fewer.

    Args:
        scores: `(Q, C)`.
        labels: `(Q, C)`, above 0 at positives, all of which teach.
        mask: `(Q, C)`, true at real candidates.
        unmined: `(Q, C)`, true at those that teach whatever they score.
        count: so many of the other negatives teach, those with the highest scores, the first of equal ones.
    """
    free = mask & (labels <= 0) & ~unmined
    ranked = np.argsort(np.where(free, -scores, np.inf), axis=1, kind="stable")
    best = np.zeros(mask.shape, dtype=bool)
    np.put_along_axis(best, ranked[:, :count], True, axis=1)
    kept = mask & ((labels > 0) | unmined | (best & free))
    places = np.argsort(~kept, axis=1, kind="stable")[:, : max(int(kept.sum(axis=1).max(initial=1)), 1)]
    return np.where(np.take_along_axis(kept, places, axis=1), places, -1).astype(np.int32)
