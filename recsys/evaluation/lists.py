"""The lists behind the figures, in outside ids, so that anyone can compute the figures again."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.tables import write_parquet
from recsys.evaluation.results import FunnelEvaluation
from recsys.features.batch import Codes
from recsys.features.history import Requests
from recsys.funnel.runtime import Funnel

__all__ = ["TEST_POSITIVES", "TEST_TOP_K", "write_lists"]

TEST_TOP_K = "test_top_k.parquet"
TEST_POSITIVES = "test_positives.parquet"


def write_lists(funnel: Funnel, requests: Requests, evaluation: FunnelEvaluation, folder: Path) -> None:
    """Writes what was recommended and what was right.

    `test_top_k.parquet`: `user_id`, `item_id`, `rank` (from 1), `score`, `request`;
    `test_positives.parquet`: `user_id`, `item_id`, `request`. The request tells several requests of one user apart.

    Args:
        funnel: the bundle that answered; knows the ids.
        requests: the requests that were asked.
        evaluation: its answers.
        folder: an existing folder.
    """
    row, place = np.nonzero(evaluation.codes >= 0)
    answers = {
        **_ids(funnel, requests, row, evaluation.codes[row, place]),
        "rank": (place + 1).astype(np.int32),
        "score": evaluation.scores[row, place],
        "request": row.astype(np.int64),
    }
    write_parquet(pa.table(answers), folder / TEST_TOP_K)
    row = np.repeat(np.arange(len(requests)), requests.counts)
    right = {**_ids(funnel, requests, row, requests.positives), "request": row.astype(np.int64)}
    write_parquet(pa.table(right), folder / TEST_POSITIVES)


def _ids(funnel: Funnel, requests: Requests, row: NDArray[np.intp], codes: Codes) -> dict[str, pa.Array]:
    return {
        "user_id": funnel.parts.users.decode(requests.user[row]),
        "item_id": funnel.parts.items.decode(codes),
    }
