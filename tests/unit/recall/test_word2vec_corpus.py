import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import DataError
from recsys.recall.word2vec import corpus as module
from recsys.recall.word2vec.corpus import MemoryCorpus, ParquetCorpus, count_tokens

SEQUENCES = [[1, 2, 3], [], None, [0], [2, 2]]


def written(folder, column, **options):
    path = folder / "corpus.parquet"
    pq.write_table(pa.table({"items": column}), path, **options)
    return ParquetCorpus(path, "items")


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int32()), pa.list_(pa.uint16())])
@pytest.mark.parametrize("group", [2, 10])
def test_parquet_gives_the_sequences_in_order(tmp_path, kind, group, monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 2)
    corpus = written(tmp_path, pa.array(SEQUENCES, kind), row_group_size=group)
    for _ in range(2):
        chunks = list(corpus.chunks())
        lists = [chunk.tokens[a:b].tolist() for chunk in chunks for a, b in pairwise(chunk.offsets)]
        assert lists == [sequence or [] for sequence in SEQUENCES]
        assert all(chunk.tokens.dtype == np.int32 and chunk.offsets.dtype == np.int64 for chunk in chunks)
        assert max(len(chunk.offsets) for chunk in chunks) == 3


def test_counts():
    corpus = MemoryCorpus(np.array([1, 2, 2], dtype=np.int32), np.array([0, 1, 3]))
    assert count_tokens(corpus, 4).tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("token", [-1, 4])
def test_a_token_outside_the_range_is_named(token):
    corpus = MemoryCorpus(np.array([1, token], dtype=np.int32), np.array([0, 2]))
    with pytest.raises(DataError, match=f"^corpus: found token {token}, expected 0 to 3$"):
        count_tokens(corpus, 4)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1, 2]), "column items is int64, expected lists of integers"),
        (pa.array([["a"]]), "column items is list<element: string>, expected lists of integers"),
        (pa.array([[1, None]]), "column items has an empty token in a list; expected whole lists"),
        (pa.array([[2**31]]), "column items has token 2147483648, expected 32-bit codes"),
    ],
)
def test_a_column_that_holds_no_tokens_is_refused(tmp_path, column, message):
    corpus = written(tmp_path, column)
    with pytest.raises(DataError, match=f"{re.escape(f'{corpus.path}: {message}')}$"):
        list(corpus.chunks())


def test_an_absent_column_is_named(tmp_path):
    path = written(tmp_path, pa.array([[1]])).path
    with pytest.raises(DataError, match=r"no column tokens; found items$"):
        list(ParquetCorpus(path, "tokens").chunks())


@pytest.mark.parametrize("content", [None, b"PAR1 cut"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path, content):
    path = tmp_path / "corpus.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"corpus\.parquet: cannot be read as Parquet: "):
        list(ParquetCorpus(path, "items").chunks())
