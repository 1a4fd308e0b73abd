"""Whether labelled samples can teach a ranker anything: asked before training starts."""

import numpy as np
from numpy.typing import NDArray

from recsys.errors import DataError
from recsys.losses.config import LossConfig, needing_groups
from recsys.ranking.configs import RankingConfig

__all__ = ["check_labels"]

_NO_NEGATIVE = {
    "events": "keep rows that were shown and not chosen, see that data.positive tells them apart, or use "
    "ranking.samples.kind: candidates",
    "candidates": "raise ranking.samples.candidate_negatives or uniform_negatives, or fusion.candidates",
}
_NO_ORDER = {
    "events": "check data.interactions.request_id and data.positive, or use a loss of single rows: bce, focal, mse",
    "candidates": "raise ranking.samples.candidate_negatives or uniform_negatives, or fusion.candidates",
}


def check_labels(ranking: RankingConfig, labels: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Refuses training samples whose labels are all equal, or equal within every request where requests are compared.

    Args:
        ranking: the ranker, its loss and its tasks.
        labels: `(Q, C)`, or `(Q, C, T)` in the order of the tasks; at least one candidate is real.
        mask: `(Q, C)` true at real candidates.

    Raises:
        DataError: a task has no positive, no negative, or no request with both.
    """
    if not ranking.tasks:
        _check("ranking", "data.positive", labels, mask, ranking, ranking.loss)
    for place, (name, task) in enumerate(ranking.tasks.items()):
        own = f"ranking.tasks.{name}"
        _check(own, f"label and at_least of {own}", labels[..., place], mask, ranking, task.loss or ranking.loss)


def _check(
    where: str,
    says: str,
    labels: NDArray[np.float32],
    mask: NDArray[np.bool_],
    ranking: RankingConfig,
    loss: LossConfig,
) -> None:
    positive, count, kind = (labels > 0) & mask, int(mask.sum()), ranking.samples.kind
    found = int(positive.sum())
    if found == 0:
        raise DataError(
            f"{where}: none of the {count:,} labelled items to learn from is a positive; expected some: check {says}, "
            "and the windows of the split"
        )
    if found == count:
        raise DataError(
            f"{where}: all {count:,} labelled items to learn from are positives; expected negatives, too: "
            f"{_NO_NEGATIVE[kind]}"
        )
    comparing = ["lambdamart"] if ranking.model.kind == "lambdamart" else needing_groups(loss)
    if comparing and not (positive.any(axis=1) & (mask & ~positive).any(axis=1)).any():
        raise DataError(
            f"{where}: {comparing[0]} compares the candidates of a request, but none of the {len(labels):,} requests "
            f"has both a positive and a negative; {_NO_ORDER[kind]}"
        )
