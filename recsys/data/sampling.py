"""What a ranker learns from: a group of labelled items for each request."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Groups", "last_of_pairs", "sample_groups", "sample_weights"]

Codes = NDArray[np.int32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Groups:
    """Labelled items of Q requests.

    Attributes:
        codes: `(Q, G)` item codes, −1 where a group is shorter.
        labels: `(Q, G)` float32, 1 for positives.
    """

    codes: Codes
    labels: NDArray[np.float32]


def sample_groups(
    codes: Codes,
    labels: NDArray[np.float32],
    withheld: Codes,
    *,
    candidate_negatives: int,
    uniform_negatives: int,
    n_items: int,
    rng: np.random.Generator,
) -> Groups:
    """Each request's positives among its candidates, with negatives drawn from the other candidates and from all items.

    A positive no route found is left out: the ranker never meets one in service.

    Args:
        codes: `(Q, C)` candidates, −1 pads.
        labels: `(Q, C)` float32, 1 where a candidate is a positive.
        withheld: `(Q, X)` items that are no negatives (history and positives), padded with −1.
        candidate_negatives: at most this many of the other candidates, drawn without replacement.
        uniform_negatives: this many draws from the catalogue; those that hit a candidate, a withheld item or one
            another are dropped.
        n_items: size of the catalogue.
        rng: randomness.
    """
    positive = labels > 0
    # Positives first, then candidates in random order, padding last.
    keys = np.where(positive, -1.0, np.where(codes >= 0, rng.random(codes.shape), 2.0))
    wanted = positive.sum(axis=1) + candidate_negatives
    width = int(min(codes.shape[1], wanted.max(initial=0)))
    order = np.argsort(keys, axis=1, kind="stable")[:, :width]
    kept = np.arange(width) < wanted[:, None]
    drawn = np.where(kept, np.take_along_axis(codes, order, axis=1), np.int32(-1))
    truth = np.where(kept, np.take_along_axis(labels, order, axis=1), np.float32(0))
    if uniform_negatives == 0:
        return Groups(drawn, truth)
    extra = _uniform(codes, withheld, uniform_negatives, n_items, rng)
    return Groups(np.concatenate([drawn, extra], axis=1), np.pad(truth, ((0, 0), (0, uniform_negatives))))


def _uniform(codes: Codes, withheld: Codes, count: int, n_items: int, rng: np.random.Generator) -> Codes:
    drawn = rng.integers(0, n_items, (len(codes), count), dtype=np.int32)
    base = np.arange(len(codes), dtype=np.int64)[:, None] * (n_items + 1) + 1
    taken = np.concatenate([(base + codes).ravel(), (base + withheld).ravel()])
    repeated = np.zeros(drawn.shape, dtype=bool)
    ranked = np.argsort(drawn, axis=1, kind="stable")
    ascending = np.take_along_axis(drawn, ranked, axis=1)
    again = np.pad(ascending[:, 1:] == ascending[:, :-1], ((0, 0), (1, 0)))
    np.put_along_axis(repeated, ranked, again, axis=1)
    return np.where(np.isin(base + drawn, taken) | repeated, np.int32(-1), drawn)


def last_of_pairs(users: Codes, items: Codes, of_users: Codes, of_items: Codes) -> NDArray[np.int64]:
    """Which of the pairs a user and an item are: `(Q, G)` the last such, −1 where they are none.

    Args:
        users: `(Q,)` user codes.
        items: `(Q, G)` item codes, −1 pads.
        of_users: `(P,)` user codes of the pairs.
        of_items: `(P,)` their item codes.
    """
    width = np.int64(max(items.max(initial=0), of_items.max(initial=0)) + 1)
    known = of_users.astype(np.int64) * width + of_items
    order = np.argsort(known, kind="stable")
    asked = users.astype(np.int64)[:, None] * width + items
    at = np.searchsorted(known[order], asked, side="right") - 1
    found = np.where(at >= 0, order[np.maximum(at, 0)], -1) if len(order) else np.full(items.shape, -1)
    same = (items >= 0) & (found >= 0) & (known[found] == asked if len(known) else False)
    return np.where(same, found, -1)


def sample_weights(
    positive: Bool,
    age: NDArray[np.floating],
    *,
    half_life: float | None = None,
    value: NDArray[np.floating] | None = None,
    propensity: NDArray[np.floating] | None = None,
    least_propensity: float = 0.01,
) -> NDArray[np.float32]:
    """How much each labelled item counts.

    Args:
        positive: `(Q, G)` which are positives.
        age: `(Q, G)` of the event, not negative, in the unit of `half_life`.
        half_life: age at which an item counts half; `None`: all count the same.
        value: `(Q, G)` of positives; each counts in proportion, all together as much as without. None may be negative.
        propensity: `(Q, G)` of positives, the probability that the user looked there: each counts its inverse
            (Joachims 2017, equation 4).
        least_propensity: smaller ones count as this one, so that no single event rules (Strehl 2010).
    """
    weight = np.ones(positive.shape) if half_life is None else np.exp2(-age / half_life)
    if value is not None:
        total = float(value[positive].sum())
        share = value * (positive.sum() / total) if total > 0 else np.ones(positive.shape)
        weight = np.where(positive, weight * share, weight)
    if propensity is not None:
        weight = np.where(positive, weight / np.maximum(propensity, least_propensity), weight)
    return weight.astype(np.float32)
