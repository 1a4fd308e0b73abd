"""What items say of themselves: the words of their texts and the values of their categories, as terms."""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.errors import DataError
from recsys.recall.base import ItemColumn, TrainingData
from recsys.recall.settings.content import READABLE

__all__ = ["Documents", "is_value", "item_documents", "item_texts", "words"]

_Part = TypeVar("_Part")

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
        parts = (np.ones(len(self.tokens)), self.tokens, self.offsets)
        # Duplicates are summed in place.
        counts = sparse.csr_array(parts, shape=(len(self.offsets) - 1, len(self.terms)), copy=True)
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

    def numbered(column: ItemColumn) -> Iterator[list[int]]:
        for cell in column.values.to_pylist():
            yield [known.setdefault(term, len(known)) for term in _terms(column, cell)]

    rows = _said(data, columns, kind, numbered)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    tokens = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(offsets[-1]))
    return Documents(tokens, offsets, list(known))


def item_texts(data: TrainingData, columns: Sequence[str] | None, *, kind: str) -> list[str]:
    """What every item says as one text, for models that read sentences; empty where it says nothing.

    Columns stand one after the other, a full stop and a blank between them, the values of one with commas.
    Arguments and errors are those of `item_documents`.
    """

    def told(column: ItemColumn) -> Iterator[list[str]]:
        for cell in column.values.to_pylist():
            text = ", ".join(cell) if isinstance(cell, list) else cell or ""
            yield [text.strip()] if words(text) else []

    return [". ".join(parts) for parts in _said(data, columns, kind, told)]


def _said(
    data: TrainingData, columns: Sequence[str] | None, kind: str, read: Callable[[ItemColumn], Iterator[list[_Part]]]
) -> list[list[_Part]]:
    """`(N,)` what the columns of each item say, one after the other."""
    rows: list[list[_Part]] = [[] for _ in range(data.n_items)]
    for column in _readable(data, columns, kind):
        found = 0
        for row, parts in zip(rows, read(column), strict=True):
            row.extend(parts)
            found += len(parts)
        if columns is not None and not found:
            raise DataError(
                f"{kind}: column {column.name!r} has no word or value of any of {data.n_items:,} items; "
                "leave it out of the route's columns, or look into the file"
            )
    if not any(rows):
        raise DataError(
            f"{kind}: none of {data.n_items:,} items has a word or value in a text or category column; "
            "look into the file of data.items, or leave the route out"
        )
    return rows


def _readable(data: TrainingData, columns: Sequence[str] | None, kind: str) -> list[ItemColumn]:
    by_name = {column.name: column for column in data.item_columns if column.kind in READABLE}
    for name in columns or ():
        if name not in by_name:
            found = ", ".join(by_name) or "none"
            raise DataError(f"{kind}: the items have no text or category column {name!r}; found {found}")
    return [by_name[name] for name in columns or by_name]


def _terms(column: ItemColumn, cell: str | list[str] | None) -> list[str]:
    if column.kind == "text":
        return words(str(cell or ""))
    values = cell if isinstance(cell, list) else [cell]
    return [f"{column.name}{_BETWEEN}{value}" for value in values if value]


@lru_cache
def _pattern() -> re.Pattern[str]:
    """A word. Marks belong to it: without them the vowels of Hindi and Thai would tear words apart."""
    marks = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c)[0] == "M")
    letter = rf"[^\W_{_ALONE}]"
    return re.compile(rf"[{_ALONE}]|{letter}+(?:[{re.escape(marks)}]+{letter}*)*")
