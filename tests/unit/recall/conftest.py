"""Catalogues that speak, for the routes that read them."""

import numpy as np
import pyarrow as pa
import pytest

from recsys.features.batch import QueryBatch
from recsys.features.history import Events, Histories
from recsys.recall.base import FitContext, ItemColumn, TrainingData
from recsys.recall.registry import fit_route


@pytest.fixture(scope="session")
def catalogue():
    """Makes training data of columns by name: text, categories or lists of them; `events` are one user's items."""

    def made(events=(), **columns):
        size = len(next(iter(columns.values())))
        item = np.array(events, np.int32)
        zeros = np.zeros(len(item), np.int64)
        log = Events(zeros.astype(np.int32), item, zeros, zeros == 0, zeros.astype(np.int8))
        return TrainingData(
            histories=Histories.build(log, 1),
            time=zeros,
            user_features={},
            item_features={},
            user_fields=(),
            item_fields=(),
            n_items=size,
            ordered=True,
            now=0,
            item_columns=tuple(ItemColumn(name, *_typed(name, cells)) for name, cells in columns.items()),
        )

    return made


def _typed(name, cells):
    if any(isinstance(cell, list) for cell in cells):
        return "multi_categorical", pa.array(cells, pa.list_(pa.large_string()))
    return "categorical" if name == "brand" else "text", pa.array(cells, pa.large_string())


@pytest.fixture(scope="session")
def asked():
    """Fits a route and gives what it scores every item for one history: −inf where it finds nothing."""

    def scores(config, data, history, seed=3):
        retriever = fit_route(config, data, FitContext(seed, None, lambda *point: None, lambda text: None, None))
        batch = QueryBatch(np.array([history], np.int32).reshape(1, -1), np.array([len(history)], np.int32), {})
        return retriever.score(batch, np.arange(data.n_items, dtype=np.int32)[None])[0]

    return scores
