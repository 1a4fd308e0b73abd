"""The truth about preferences on the last day, for whoever evaluates a model on a simulated world.

On the last day, before its first request, the probability that a user clicks an item they examine is
`sigmoid(user vector · item vector)`, for every user and every item: tastes, popularity and interests are those of that
moment.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.data.synthetic.population import Floats
from recsys.data.tables import write_parquet
from recsys.errors import DataError

__all__ = ["BEST", "ITEM_VECTORS", "USER_VECTORS", "Oracle", "oracle_files"]

BEST, USER_VECTORS, ITEM_VECTORS = "best.parquet", "user_vectors.parquet", "item_vectors.parquet"
_ROWS = 512
_SCHEMA = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("rank", pa.int32()), ("probability", pa.float32())]
)


@dataclass(frozen=True, slots=True)
class Oracle:
    """True preferences at the start of the last day.

    Attributes:
        user_ids: all users.
        item_ids: all items, which all exist by the last day.
        users: `(U, E)` user vectors.
        items: `(I, E)` item vectors.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    users: Floats
    items: Floats

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads the oracle of a simulated world.

        Args:
            folder: of the world; holds `oracle/`.

        Raises:
            DataError: there is none, or it cannot be read.
        """
        (user_ids, users), (item_ids, items) = map(_read, oracle_files(folder))
        return cls(user_ids, item_ids, users, items)

    def probabilities(self, user_ids: pa.Array, item_ids: pa.Array) -> Floats:
        """The true probability of a click, were the item examined, for each pair.

        Args:
            user_ids: `(N,)` strings.
            item_ids: `(N,)` strings.

        Raises:
            DataError: an id is none of this world's.
        """
        users, items = self.user_codes(user_ids), self.item_codes(item_ids)
        probabilities = np.empty(len(users), np.float32)
        for first in range(0, len(users), 1 << 16):
            some = slice(first, first + (1 << 16))
            logits = np.einsum("ne,ne->n", self.users[users[some]], self.items[items[some]])
            probabilities[some] = 1 / (1 + np.exp(-logits))
        return probabilities

    def user_codes(self, ids: pa.Array) -> NDArray[np.int64]:
        """The positions of users in `user_ids`; raises `DataError` when one is not of this world."""
        return _codes(ids, self.user_ids, "user")

    def item_codes(self, ids: pa.Array) -> NDArray[np.int64]:
        """The positions of items in `item_ids`; raises `DataError` when one is not of this world."""
        return _codes(ids, self.item_ids, "item")

    def best(self, users: NDArray[np.integer], k: int) -> tuple[NDArray[np.int64], Floats]:
        """The true best lists of users.

        Args:
            users: `(Q,)` codes, positions in `user_ids`.
            k: length of a list, cut down to the number of items.

        Returns:
            `(Q, k)` item codes, best first, ties to the smaller code, and their probabilities.
        """
        logits = self.users[users] @ self.items.T
        k = min(k, logits.shape[1])
        top = np.sort(np.argpartition(-logits, k - 1, axis=1)[:, :k], axis=1)
        order = np.argsort(-np.take_along_axis(logits, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        return top, 1 / (1 + np.exp(-np.take_along_axis(logits, top, axis=1)))

    def save(self, folder: Path) -> None:
        """Writes the vectors of users and items into an existing folder."""
        for name, key, ids, vectors in (
            (USER_VECTORS, "user_id", self.user_ids, self.users),
            (ITEM_VECTORS, "item_id", self.item_ids, self.items),
        ):
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            write_parquet(pa.table({key: ids, "vector": column}), folder / name)

    def save_best(self, folder: Path, users: NDArray[np.integer], k: int) -> None:
        """Writes the best lists of users, a few at a time, into an existing folder."""
        with pq.ParquetWriter(folder / BEST, _SCHEMA, compression="zstd") as writer:
            for first in range(0, len(users), _ROWS):
                some = users[first : first + _ROWS]
                items, probabilities = self.best(some, k)
                length = items.shape[1]
                columns = [
                    self.user_ids.take(pa.array(np.repeat(some, length))),
                    self.item_ids.take(pa.array(items.ravel())),
                    pa.array(np.tile(np.arange(1, length + 1, dtype=np.int32), len(some))),
                    pa.array(probabilities.ravel()),
                ]
                writer.write_table(pa.table(columns, schema=_SCHEMA))


def oracle_files(folder: Path) -> tuple[Path, ...]:
    """The files that `Oracle.load` reads from the folder of a world."""
    return tuple(folder / "oracle" / name for name in (USER_VECTORS, ITEM_VECTORS))


def _codes(ids: pa.Array, known: pa.Array, what: str) -> NDArray[np.int64]:
    ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    codes = pc.index_in(ids.cast(pa.string()), value_set=known)
    if codes.null_count:
        stranger = ids.filter(codes.is_null())[0].as_py()
        raise DataError(f"oracle: found {what} {stranger!r}, which is not of this world; was the log simulated anew?")
    return codes.to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _read(path: Path) -> tuple[pa.Array, Floats]:
    try:
        table = pq.read_table(path).combine_chunks()
        ids, column = table.column(0).chunk(0), table.column("vector").chunk(0)
        vectors = column.flatten().to_numpy().reshape(len(ids), -1)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(
            f"{path}: found no true preferences ({error}), expected those that recsys data synth writes"
        ) from error
    return ids.cast(pa.string()), vectors
