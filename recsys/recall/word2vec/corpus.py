"""Corpora: sequences of tokens that stream by in chunks, from memory or from Parquet."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.errors import DataError

__all__ = ["Chunk", "Corpus", "MemoryCorpus", "ParquetCorpus", "count_tokens"]

_ROWS = 1 << 15
"""Rows of a Parquet file in memory together."""


class Chunk(NamedTuple):
    """Some whole sequences.

    Attributes:
        tokens: int32, one sequence after the other.
        offsets: `(S + 1,)` int64 from 0; sequence s is `tokens[offsets[s]:offsets[s + 1]]`.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]


class Corpus(Protocol):
    """Sequences in an order that stays; read once to count and once an epoch."""

    def chunks(self) -> Iterator[Chunk]:
        """All sequences from the first; how they are cut into chunks changes nothing."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryCorpus:
    """A corpus in memory; only referred to, never copied.

    Attributes:
        tokens: int32 of all sequences.
        offsets: `(S + 1,)` int64 from 0.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def chunks(self) -> Iterator[Chunk]:
        """All sequences as one chunk."""
        yield Chunk(np.asarray(self.tokens, dtype=np.int32), np.asarray(self.offsets, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class ParquetCorpus:
    """A column of lists of integers in a Parquet file, read a few rows at a time; an empty or missing list is nothing.

    Attributes:
        path: the file.
        column: its name.
    """

    path: Path
    column: str

    def chunks(self) -> Iterator[Chunk]:
        """The rows in their order.

        Raises:
            DataError: the file cannot be read, or the column is absent, no list of integers, or holds an empty token.
        """
        try:
            with pq.ParquetFile(self.path) as file:
                self._check(file.schema_arrow)
                for batch in file.iter_batches(_ROWS, columns=[self.column]):
                    yield self._chunk(batch.column(0))
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{self.path}: cannot be read as Parquet: {error}") from None

    def _check(self, schema: pa.Schema) -> None:
        if self.column not in schema.names:
            raise DataError(f"{self.path}: no column {self.column}; found {', '.join(schema.names)}")
        kind = schema.field(self.column).type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not is_list or not pa.types.is_integer(kind.value_type):
            raise DataError(f"{self.path}: column {self.column} is {kind}, expected lists of integers")

    def _chunk(self, lists: pa.ListArray) -> Chunk:
        values = lists.flatten()
        if values.null_count:
            raise DataError(f"{self.path}: column {self.column} has an empty token in a list; expected whole lists")
        wide = values.to_numpy()
        limit = np.iinfo(np.int32)
        if len(wide) and not limit.min <= wide.min() <= wide.max() <= limit.max:
            worst = max(int(wide.max()), -int(wide.min()))
            raise DataError(f"{self.path}: column {self.column} has token {worst}, expected 32-bit codes")
        lengths = lists.value_lengths().fill_null(0).to_numpy()
        return Chunk(wide.astype(np.int32), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))


def count_tokens(corpus: Corpus, n_tokens: int) -> NDArray[np.int64]:
    """`(n_tokens,)` occurrences of each token.

    Raises:
        DataError: a token is not among 0 … n_tokens − 1.
    """
    counts = np.zeros(n_tokens, dtype=np.int64)
    for tokens, _ in corpus.chunks():
        outside = (tokens < 0) | (tokens >= n_tokens)
        if outside.any():
            raise DataError(f"corpus: found token {tokens[outside.argmax()]}, expected 0 to {n_tokens - 1}")
        counts += np.bincount(tokens, minlength=n_tokens)
    return counts
