"""Tables of users and items made of the columns of a wide log, in which every event repeats what is known of both.

An id takes the most frequent of its values; of equally frequent ones, that of the earliest row of the files. Missing
values are passed over. A column in which more than a small share of rows contradict their id's value is refused: it
changes over time, and its later values would be used for earlier events.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["attribute_table", "codes_of", "contradictions", "most_frequent"]

Int = NDArray[np.int64]


def codes_of(values: pa.Array) -> Int:
    """A number for each different value, in order of appearance; -1 where it is missing, shape (N,).

    Example:
        >>> codes_of(pa.array(["b", None, "a", "b"])).tolist()
        [0, -1, 1, 0]
    """
    if pa.types.is_nested(values.type):
        cells = [None if cell is None else repr(cell) for cell in values.to_pylist()]
        return np.asarray(pd.factorize(np.array(cells, dtype=object))[0], dtype=np.int64)
    return np.asarray(values.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def most_frequent(ids: Int, values: Int) -> tuple[Int, Int]:
    """For each id that has a value: a row with its most frequent one; and how often that value occurs.

    Args:
        ids: Codes, shape (N,).
        values: Codes, negative where there is none, shape (N,).

    Returns:
        Rows and counts, both in the order of the ids' codes.

    Example:
        >>> rows, counts = most_frequent(np.array([0, 0, 0, 1]), np.array([5, 7, 7, 5]))
        >>> rows.tolist(), counts.tolist()
        ([1, 3], [2, 1])
    """
    rows = np.flatnonzero((ids >= 0) & (values >= 0))
    if not len(rows):
        return rows, rows
    width = int(values.max()) + 1
    pairs, first, counts = np.unique(ids[rows] * width + values[rows], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts, pairs // width))
    best = order[np.unique((pairs // width)[order], return_index=True)[1]]
    return rows[first[best]], counts[best].astype(np.int64)


def contradictions(ids: Int, values: Int) -> tuple[int, int]:
    """How many rows hold another value than the most frequent of their id, and of how many that could."""
    known = (ids >= 0) & (values >= 0)
    sizes = np.bincount(ids[known])
    _, counts = most_frequent(ids, values)
    return int(sizes.sum() - counts.sum()), int(sizes[sizes > 1].sum())


def attribute_table(
    log: pa.Table, id_name: str, columns: Sequence[tuple[str, str]]
) -> tuple[pa.Table, dict[str, float]]:
    """One row an id, in order of appearance.

    Args:
        log: The good rows of the log.
        id_name: Its column with the ids.
        columns: Pairs of a column of the log and its name in the table.

    Returns:
        The table; and by name the share of rows that contradict the value of their id, of those that could.
    """
    ids = log[id_name].combine_chunks()
    codes = codes_of(ids)
    distinct, first = np.unique(codes, return_index=True)
    arrays, shares = {id_name: ids.take(pa.array(first))}, {}
    for source, name in columns:
        values = log[source].combine_chunks()
        coded = codes_of(values)
        rows, _ = most_frequent(codes, coded)
        at = np.full(len(distinct), -1, dtype=np.int64)
        at[codes[rows]] = rows
        arrays[name] = values.take(pa.array(at, mask=at < 0))
        wrong, of = contradictions(codes, coded)
        shares[name] = wrong / of if of else 0.0
    return pa.table(arrays), shares
