"""What a ranker is judged by while it is trained."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.ranker_samples import Scores, Window
from recsys.metrics.classification import auc
from recsys.metrics.ranking import ndcg_at_k
from recsys.ranking.configs import RankingConfig

__all__ = ["Judge", "judge_of"]


@dataclass(frozen=True, slots=True)
class Judge:
    """What early stopping goes by, and what else is told of every epoch.

    AUC of labelled rows, NDCG of lists. Of several tasks: its mean over tasks, and the AUC of each. What the window
    cannot tell, because all its labels are equal, is NaN, and counts in no mean.
    """

    rows: bool
    tasks: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the figure that training goes by."""
        return "auc" if self.rows else "ndcg@10"

    def __call__(self, scores: Scores, window: Window) -> dict[str, float]:
        """Figures by name, that one first."""
        mask, truth = window.mask, window.labels
        if not self.tasks:
            if self.rows:
                return {self.name: auc(truth[mask], scores[mask])}
            return {self.name: _list_quality(scores, truth, mask, window.grouped.requests.counts)}
        columns = {name: (scores[..., task], truth[..., task]) for task, name in enumerate(self.tasks)}
        areas = {f"auc/{name}": auc(labels[mask], own[mask]) for name, (own, labels) in columns.items()}
        if self.rows:
            return {self.name: _mean(list(areas.values())), **areas}
        quality = [_task_quality(own, labels, mask) for own, labels in columns.values()]
        return {self.name: _mean(quality), **areas}


def judge_of(ranking: RankingConfig) -> Judge:
    """The judge of a configuration."""
    return Judge(ranking.samples.kind == "events", tuple(ranking.tasks))


def _list_quality(scores: Scores, labels: Scores, mask: NDArray[np.bool_], counts: NDArray[np.integer]) -> float:
    order = np.argsort(-np.where(mask, scores, -np.inf), axis=1, kind="stable")
    hits = np.take_along_axis(labels, order, axis=1) > 0
    return float(ndcg_at_k(hits, counts, 10).mean())


def _mean(figures: list[float]) -> float:
    """Of those that are no NaN; NaN without any."""
    known = [figure for figure in figures if not math.isnan(figure)]
    return float(np.mean(known)) if known else math.nan


def _task_quality(scores: Scores, labels: Scores, mask: NDArray[np.bool_]) -> float:
    """Over the requests that have a positive of the task; NaN without any."""
    counts = (labels > 0).sum(axis=1)
    some = counts > 0
    return _list_quality(scores[some], labels[some], mask[some], counts[some]) if some.any() else math.nan
