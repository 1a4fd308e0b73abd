"""Which training samples are refused."""

import re

import numpy as np
import pytest

from recsys.errors import DataError
from recsys.ranking.configs import RankingConfig
from recsys.ranking.labels import check_labels

LINES = {"model": {"kind": "fm"}, "samples": {"kind": "events"}}
DRAWN = {"model": {"kind": "fm"}}
TASKS = {"tasks": {"click": {"label": "click"}, "buy": {"label": "buy", "loss": "softmax"}}, "model": {"kind": "mmoe"}}
MASK = np.array([[True, True, False], [True, False, False], [True, True, True]])
"""Six labelled items of three requests."""
MIXED = [[1, 0, 1], [0, 1, 1], [0, 0, 0]]
ALIKE = [[0, 0, 1], [1, 0, 0], [1, 1, 1]]
"""What stands at padding counts nowhere."""


def check(settings, labels):
    check_labels(RankingConfig.model_validate(settings), np.array(labels, dtype=np.float32), MASK)


@pytest.mark.parametrize("settings", [LINES, DRAWN, {**LINES, "loss": "ranknet"}, {"model": {"kind": "lambdamart"}}])
def test_labels_of_both_kinds_in_a_request_are_fine(settings):
    check(settings, MIXED)


@pytest.mark.parametrize("loss", ["bce", "focal + 0.1 * mse"])
def test_single_rows_need_no_request_with_both(loss):
    check({**LINES, "loss": loss}, ALIKE)


NO_POSITIVE = "none of the 6 labelled items to learn from is a positive; expected some: check"
EVENTS = (
    "keep rows that were shown and not chosen, see that data.positive tells them apart, or use "
    "ranking.samples.kind: candidates"
)
CANDIDATES = "raise ranking.samples.candidate_negatives or uniform_negatives, or fusion.candidates"
ROWS = "check data.interactions.request_id and data.positive, or use a loss of single rows: bce, focal, mse"
COMPARES = "compares the candidates of a request, but none of the 3 requests has both a positive and a negative; "
REFUSED = {
    "no positive": (
        LINES,
        [[0, 0, 1], [0, 1, 1], [0, 0, 0]],
        f"ranking: {NO_POSITIVE} data.positive, and the windows of the split",
    ),
    "no negative in the log": (
        LINES,
        np.where(MASK, 1, 0),
        f"ranking: all 6 labelled items to learn from are positives; expected negatives, too: {EVENTS}",
    ),
    "no negative drawn": (
        DRAWN,
        np.where(MASK, 1, 0),
        f"ranking: all 6 labelled items to learn from are positives; expected negatives, too: {CANDIDATES}",
    ),
    "nothing to compare": ({**LINES, "loss": "bce + 0.1 * ranknet"}, ALIKE, f"ranking: ranknet {COMPARES}{ROWS}"),
    "nothing to compare among drawn ones": (
        {**DRAWN, "loss": "softmax"},
        ALIKE,
        f"ranking: softmax {COMPARES}{CANDIDATES}",
    ),
    "nothing for trees to compare": (
        {**LINES, "model": {"kind": "lambdamart"}},
        ALIKE,
        f"ranking: lambdamart {COMPARES}{ROWS}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_teach_nothing_are_refused(case):
    settings, labels, message = REFUSED[case]
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        check(settings, labels)


def test_every_task_has_to_have_something_to_learn():
    check(TASKS, np.stack([MIXED, MIXED], axis=-1))
    check(TASKS, np.stack([ALIKE, MIXED], axis=-1))  # the click's loss is of single rows
    message = f"ranking.tasks.buy: {NO_POSITIVE} label and at_least of ranking.tasks.buy, and the windows of the split"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        check(TASKS, np.stack([MIXED, np.zeros((3, 3))], axis=-1))
    with pytest.raises(DataError, match=f"^{re.escape(f'ranking.tasks.buy: softmax {COMPARES}{CANDIDATES}')}$"):
        check(TASKS, np.stack([MIXED, ALIKE], axis=-1))
