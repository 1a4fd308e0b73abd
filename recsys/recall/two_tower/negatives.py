"""The columns of a training batch: positives, and the negatives all its requests share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.features.batch import Codes, Floats
from recsys.features.history import Histories
from recsys.recall.settings.two_tower import NegativesConfig

__all__ = ["Columns", "NegativeSampler"]

Hard = Callable[[], Codes]
"""Gives `(P, hard)` items the towers wrongly find by now."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What requests are scored against.

    Attributes:
        codes: `(M,)` item codes; `None` means the whole catalogue in order.
        target: `(P, 1)` int64 column of each request's positive; `(P, T)` of several, padded with −1.
        mask: `(P, M)` true at real columns; `None` means all.
        logq: `(M,)` logarithm of how often an item is drawn; `None` for no correction.
    """

    codes: Codes | None
    target: NDArray[np.int64]
    mask: NDArray[np.bool_] | None
    logq: Floats | None


class NegativeSampler:
    """Draws the columns of batches.

    Args:
        config: what negatives are.
        histories: events of the window, for popularity and for what users have.
        n_items: N.
        corrected: whether scores are made those of the whole catalogue: only a softmax can be.
    """

    def __init__(self, config: NegativesConfig, histories: Histories, n_items: int, *, corrected: bool) -> None:
        self._config = config
        self._corrected = corrected and config.correction
        self._histories = histories
        self._n_items = n_items
        counts = np.bincount(histories.items, minlength=n_items) + 1.0
        self._popularity = counts / counts.sum()
        drawn = counts**config.power
        self._drawn = drawn / drawn.sum()
        self._edges = np.cumsum(self._drawn)

    def columns(self, targets: Codes, users: Codes, rng: np.random.Generator, hard: Hard | None = None) -> Columns:
        """The columns of a batch.

        Args:
            targets: `(P,)` positive of each request.
            users: `(P,)` who asks.
            rng: draws negatives.
            hard: mines hard ones; called where the configuration wants any.
        """
        codes, columns, only = self._codes(targets, rng)
        if hard is not None:
            found = np.unique(hard())
            codes = np.concatenate([codes, found[found >= 0]]).astype(np.int32)
        # The same item twice in a batch is no negative of itself, and neither is one the user has.
        mask = codes[None, :] != targets[:, None]
        mask[:, :only] = False
        if self._config.mask_seen:
            mask &= ~self._seen(users, codes)
        mask[np.arange(len(targets)), columns] = True
        return Columns(codes, columns[:, None], mask, self._logq(codes, len(targets)))

    def whole(self, targets: Codes, given: Codes | None = None) -> Columns:
        """The columns of a batch whose negatives are the whole catalogue.

        Args:
            targets: `(P,)` positive of each request, or `(P, T)` several, padded with −1.
            given: `(P, L)` items that are neither asked for nor negatives, padded with −1.
        """
        target = targets.reshape(len(targets), -1).astype(np.int64)
        if given is None:
            return Columns(None, target, None, None)
        mask = np.ones((len(target), self._n_items), dtype=bool)
        for codes, real in ((given, False), (target, True)):
            rows, places = np.nonzero(codes >= 0)
            mask[rows, codes[rows, places]] = real
        return Columns(None, target, mask, None)

    def _codes(self, targets: Codes, rng: np.random.Generator) -> tuple[Codes, NDArray[np.int64], int]:
        """The columns without hard negatives, the column of each positive, and how many at the front are only that."""
        if self._config.kind == "in_batch":
            return targets, np.arange(len(targets)), 0
        sampled = np.searchsorted(self._edges, rng.random(self._config.count)).clip(max=self._n_items - 1)
        if self._config.kind == "mixed":
            return np.concatenate([targets, sampled]).astype(np.int32), np.arange(len(targets)), 0
        positives, column = np.unique(targets, return_inverse=True)
        return np.concatenate([positives, sampled]).astype(np.int32), column.astype(np.int64), len(positives)

    def _logq(self, codes: Codes, requests: int) -> Floats | None:
        if not self._corrected:
            return None
        share = {"in_batch": 1.0, "sampled": 0.0}.get(self._config.kind, requests / (requests + self._config.count))
        expected = share * self._popularity[codes] + (1 - share) * self._drawn[codes]
        logq: Floats = np.log(expected).astype(np.float32)
        return logq

    def _seen(self, users: Codes, codes: Codes) -> NDArray[np.bool_]:
        """`(P, M)` whether the user of each request has each column's item."""
        items, column = np.unique(codes, return_inverse=True)
        place = np.full(self._n_items, -1)
        place[items] = np.arange(len(items))
        history, _ = self._histories.batch(users)
        at = np.where(history >= 0, place[history], -1)
        rows, steps = np.nonzero(at >= 0)
        seen = np.zeros((len(users), len(items)), dtype=bool)
        seen[rows, at[rows, steps]] = True
        return seen[:, column]
