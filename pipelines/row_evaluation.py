"""What `evaluate` does for a log without users and items: the bundle scores the labelled rows of the test window."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.inputs import Log, labelled_rows, lists, task_positives
from recsys.config import Config
from recsys.data.split import TEST
from recsys.data.tables import Dataset
from recsys.errors import DataError
from recsys.evaluation.funnel_metrics import evaluate_rows
from recsys.evaluation.results import RowsEvaluation
from recsys.evaluation.row_scores import write_row_scores
from recsys.funnel.rows import Predictions
from recsys.funnel.runtime import Funnel

__all__ = ["evaluate_test_rows"]

_CHUNK = 2**16
"""Rows encoded together: bounds memory, whatever the window."""


def evaluate_test_rows(config: Config, log: Log, ingested: Path, funnel: Funnel, folder: Path) -> RowsEvaluation:
    """Scores the labelled rows of the test window, writes the scores into a folder, and measures them.

    Raises:
        DataError: there is no such row.
    """
    at = labelled_rows(log, (TEST,), ingested)
    if not len(at):
        raise DataError(
            "evaluate: the test window holds no labelled row; check data.interactions.exposed and the split"
        )
    table = Dataset.load(ingested).interactions
    predictions = _predicted(funnel, table, at)
    positive = log.events.positive[at]
    tasks = {name: reached[at] for name, reached in task_positives(config, ingested).items()}
    ranker = funnel.parts.ranker
    assert ranker is not None
    groups = lists(ingested, at) if config.data.interactions.request_id is not None else None
    labels = {"label": positive, **{f"label.{name}": own for name, own in tasks.items()}}
    write_row_scores(predictions, ranker.tasks, table["row"].take(pa.array(at)).to_numpy(), labels, folder)
    return RowsEvaluation(
        evaluate_rows(positive, predictions.scores, groups, ranker=ranker),
        {
            name: evaluate_rows(own, predictions.logits[:, task], groups, ranker=ranker, task=task)
            for task, (name, own) in enumerate(tasks.items())
        },
    )


def _predicted(funnel: Funnel, log: pa.Table, at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Predictions:
    context = log.select([column.name for column in funnel.parts.rows])
    parts = [at[start : start + _CHUNK] for start in range(0, len(at), _CHUNK)]
    return Predictions.joined(
        [funnel.predict_rows(funnel.rows.of_table(context.take(pa.array(rows)))) for rows in parts]
    )
