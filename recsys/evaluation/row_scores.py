"""The scores behind the figures of labelled rows, so that anyone can compute the figures again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.tables import write_parquet
from recsys.funnel.rows import Predictions, row_columns
from recsys.scoring.tasks import Tasks

__all__ = ["TEST_ROWS", "write_row_scores"]

TEST_ROWS = "test_rows.parquet"


def write_row_scores(
    predictions: Predictions,
    tasks: Tasks | None,
    rows: NDArray[np.int64],
    labels: Mapping[str, NDArray[Any]],
    folder: Path,
) -> None:
    """Writes `test_rows.parquet`: `row` of the log, `label`, `score`, `probability`; `label.<task>` of several tasks.

    Args:
        predictions: of the rows.
        tasks: of the ranker; `None` where there is one.
        rows: `(N,)` positions among all source rows.
        labels: `(N,)` by column name.
        folder: an existing folder.
    """
    given = {name: np.asarray(values, dtype=np.float32) for name, values in labels.items()}
    write_parquet(pa.table({"row": rows, **given, **row_columns(predictions, tasks)}), folder / TEST_ROWS)
