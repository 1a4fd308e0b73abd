"""What a ranker learns from: a group of labelled items for each request."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Groups", "last_of_pairs", "popularity_chances", "sample_groups", "sample_weights", "thinned"]

Codes = NDArray[np.int32]
Bool = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Groups:
    """Labelled items of Q requests.

    Attributes:
        codes: `(Q, G)` item codes, −1 where a group is shorter.
        labels: `(Q, G)` float32, 1 for positives.
        chance: `(Q, G)` that the item would be in the group if it was no positive; `None`: every one would be.
        from_catalogue: `(Q, G)` whether it is a negative drawn from the catalogue; `None`: none is.
    """

    codes: Codes
    labels: Floats
    chance: Floats | None = None
    from_catalogue: Bool | None = None


def sample_groups(
    codes: Codes,
    labels: Floats,
    withheld: Codes,
    *,
    candidate_negatives: int,
    uniform_negatives: int,
    n_items: int,
    rng: np.random.Generator,
    popularity_negatives: int = 0,
    popularity: NDArray[np.float64] | None = None,
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
        n_items: N, size of the catalogue.
        rng: randomness.
        popularity_negatives: this many more draws, by `popularity`; dropped where the others are.
        popularity: `(N,)` chance of each item, see `popularity_chances`; only read where there are such draws.
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
    others = ((codes >= 0) & ~positive).sum(axis=1, keepdims=True) + (truth > 0)
    near = np.minimum(candidate_negatives / np.maximum(others, 1), 1).astype(np.float32)
    count = uniform_negatives + popularity_negatives
    if count == 0:
        return Groups(drawn, truth, near, np.zeros(drawn.shape, dtype=bool))
    extra = rng.integers(0, n_items, (len(codes), uniform_negatives), dtype=np.int32)
    missed = np.full(n_items, (1 - 1 / n_items) ** uniform_negatives)
    if popularity_negatives:
        assert popularity is not None
        more = rng.choice(n_items, (len(codes), popularity_negatives), p=popularity).astype(np.int32)
        extra, missed = np.concatenate([extra, more], axis=1), missed * (1 - popularity) ** popularity_negatives
    extra = _untaken(extra, codes, withheld, n_items)
    far = (1 - missed)[extra].astype(np.float32)
    return Groups(
        np.concatenate([drawn, extra], axis=1),
        np.pad(truth, ((0, 0), (0, count))),
        np.concatenate([near, far], axis=1),
        np.concatenate([np.zeros(drawn.shape, dtype=bool), extra >= 0], axis=1),
    )


def _untaken(drawn: Codes, codes: Codes, withheld: Codes, n_items: int) -> Codes:
    """The draws, with −1 for those that are among the row's codes, withheld or drawn before."""
    base = np.arange(len(codes), dtype=np.int64)[:, None] * (n_items + 1) + 1
    taken = np.concatenate([(base + codes).ravel(), (base + withheld).ravel()])
    repeated = np.zeros(drawn.shape, dtype=bool)
    ranked = np.argsort(drawn, axis=1, kind="stable")
    ascending = np.take_along_axis(drawn, ranked, axis=1)
    again = np.pad(ascending[:, 1:] == ascending[:, :-1], ((0, 0), (1, 0)))
    np.put_along_axis(repeated, ranked, again, axis=1)
    return np.where(np.isin(base + drawn, taken) | repeated, np.int32(-1), drawn)


def popularity_chances(counts: NDArray[np.number], power: float) -> NDArray[np.float64]:
    """`(N,)` chance to draw each item: in proportion to its count to a power (Mikolov 2013, section 2.2).

    Args:
        counts: `(N,)` how often each item was met, one of them at least once.
        power: 0 draws all alike, 1 as often as they were met.
    """
    share = counts.astype(np.float64) ** power
    return np.asarray(share / share.sum())


def thinned(groups: Groups, negatives_per_positive: float, rng: np.random.Generator) -> Groups:
    """Groups with at most so many negatives for each of their positives, rounded, but at least one.

    Args:
        groups: of Q requests, with chances.
        negatives_per_positive: the ratio.
        rng: draws which of them stay.
    """
    assert groups.chance is not None
    assert groups.from_catalogue is not None
    positive, negative = groups.labels > 0, (groups.codes >= 0) & (groups.labels <= 0)
    most = np.maximum(np.rint(negatives_per_positive * positive.sum(axis=1, keepdims=True)), 1)
    # Positives first, then negatives in random order, padding last.
    keys = np.where(positive, -1.0, np.where(negative, rng.random(negative.shape), 2.0))
    order = np.argsort(keys, axis=1, kind="stable")
    kept = np.arange(order.shape[1]) < positive.sum(axis=1, keepdims=True) + most
    codes = np.where(kept, np.take_along_axis(groups.codes, order, axis=1), np.int32(-1))
    width = int((codes >= 0).sum(axis=1).max(initial=1))
    share = np.minimum(most / np.maximum(negative.sum(axis=1, keepdims=True), 1), 1).astype(np.float32)
    labels, chance, drawn = (
        np.take_along_axis(values, order[:, :width], axis=1)
        for values in (groups.labels, groups.chance * share, groups.from_catalogue)
    )
    return Groups(codes[:, :width], np.where(codes[:, :width] >= 0, labels, np.float32(0)), chance, drawn)


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
