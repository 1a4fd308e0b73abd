"""What items say of themselves: the words of their texts and the values of their categories, as terms."""

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.errors import DataError
from recsys.recall.base import ItemColumn, TrainingData
from recsys.recall.settings.content import READABLE

__all__ = ["Documents", "is_value", "item_documents", "nothing_to_read", "readable", "words"]

_BETWEEN = "="
"""Between a column and its value in a term. No word has it, so no word is taken for a value."""
# Scripts written without blanks: a character is the nearest thing to a word that needs no dictionary.
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


@dataclass(frozen=True, slots=True)
class Documents:
    """The terms of N items in the order they are read; V different ones.

    Attributes:
        tokens: int32 terms, one item after the other.
        offsets: `(N + 1,)` int64; the terms of item i are `tokens[offsets[i]:offsets[i + 1]]`.
        terms: the V terms by number: words, and `column=value` for values of categories.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    terms: list[str]

    def counts(self) -> sparse.csr_array:
        """`(N, V)` float64: how often each item has each term."""
        parts = (np.ones(len(self.tokens)), self.tokens.copy(), self.offsets)
        counts = sparse.csr_array(parts, shape=(len(self.offsets) - 1, len(self.terms)))
        counts.sum_duplicates()
        return counts


def words(text: str) -> list[str]:
    """The words of a text: runs of letters, digits and their marks in one case, whatever the script.

    Compatibility forms are made one (NFKC). Chinese and Japanese characters are words of their own.

    Example:
        >>> words("Amélie's 2nd FILM: ﬁn, 東京")
        ['amélie', 's', '2nd', 'film', 'fin', '東', '京']
    """
    return _pattern().findall(unicodedata.normalize("NFKC", text).casefold())


def is_value(term: str) -> bool:
    """Whether a term is the value of a category, not a word."""
    return _BETWEEN in term


def item_documents(data: TrainingData, columns: Sequence[str] | None, *, kind: str) -> Documents:
    """The terms of every item.

    Args:
        data: with the columns of its items.
        columns: to be read, in this order; `None`: all that can be, and what is empty of them is left out.
        kind: of the route, for messages.

    Raises:
        DataError: a column is not there, or has no word or value of any item.
    """
    known: dict[str, int] = {}
    rows: list[list[int]] = [[] for _ in range(data.n_items)]
    for column in readable(data, columns, kind=kind):
        found = 0
        for row, terms in zip(rows, _terms(column), strict=True):
            row.extend(known.setdefault(term, len(known)) for term in terms)
            found += len(terms)
        if columns is not None and not found:
            raise DataError(
                f"{kind}: column {column.name!r} has no word or value of any of {data.n_items:,} items; "
                "leave it out of the route's columns, or look into the file"
            )
    if not known:
        raise nothing_to_read(data, kind)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    tokens = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(offsets[-1]))
    return Documents(tokens, offsets, list(known))


def readable(data: TrainingData, columns: Sequence[str] | None, *, kind: str) -> list[ItemColumn]:
    """The columns a route reads, in the order they are named.

    Raises:
        DataError: one is not there.
    """
    by_name = {column.name: column for column in data.item_columns if column.kind in READABLE}
    for name in columns or ():
        if name not in by_name:
            found = ", ".join(by_name) or "none"
            raise DataError(f"{kind}: the items have no text or category column {name!r}; found {found}")
    return [by_name[name] for name in columns or by_name]


def nothing_to_read(data: TrainingData, kind: str) -> DataError:
    """What to say when no item says anything."""
    return DataError(
        f"{kind}: none of {data.n_items:,} items has a word or value in a text or category column; "
        "look into the file of data.items, or leave the route out"
    )


def _terms(column: ItemColumn) -> Iterator[list[str]]:
    """The terms of each item."""
    for cell in column.values.to_pylist():
        if cell is None:
            yield []
        elif column.kind == "text":
            yield words(cell)
        else:
            values = [cell] if column.kind == "categorical" else cell
            yield [f"{column.name}{_BETWEEN}{value}" for value in values if value]


@lru_cache
def _pattern() -> re.Pattern[str]:
    """A word. Marks belong to it: without them the vowels of Hindi and Thai would tear words apart."""
    marks = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c)[0] == "M")
    letter = rf"[^\W_{_ALONE}]"
    return re.compile(rf"[{_ALONE}]|{letter}+(?:[{re.escape(marks)}]+{letter}*)*")
