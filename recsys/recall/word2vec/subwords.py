"""Vectors of words made of the vectors of their parts (FastText: Bojanowski et al. 2017).

The same training as `kernels`, but the vector of a token is the mean of several rows: its own, and those of its
character n-grams. The paper hashes n-grams into a fixed number of rows, as it wants vectors of words it has never seen.
Here the vocabulary is known, so that every n-gram that words share gets a row of its own, and none collide; one that a
single word has would only double that word's own row, and gets none.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

# One algorithm in two files: a loop that pools would keep the other from being as fast as it is.
from recsys.recall.word2vec.kernels import (
    Plan,
    Slice,
    _average,
    _cached,
    _contexts,
    _errors,
    _longest,
    _move_inputs,
    _move_outputs,
    _rate,
    _seeded,
    _subsampled,
    _targets,
)

__all__ = ["Parts", "character_ngrams", "compiled", "means"]


class Parts(NamedTuple):
    """Which rows of the input table make the vector of each token.

    Attributes:
        offsets: `(N + 1,)` int64; token t has the rows `rows[offsets[t]:offsets[t + 1]]`, at least one.
        rows: int32; row t of the first N is token t's own.
        n_rows: of the table.
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    n_rows: int

    def of(self, tokens: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`(n_rows,)` which rows are parts of these tokens `(N,)`."""
        used = np.zeros(self.n_rows, dtype=np.bool_)
        used[self.rows[np.repeat(tokens, np.diff(self.offsets))]] = True
        return used


def character_ngrams(words: Sequence[str | None], *, shortest: int, longest: int) -> Parts:
    """The parts of words: themselves, and each n-gram of `<word>` that another word has, too (section 3.2).

    Args:
        words: N different ones; `None` stands for a token that is no word and has only its own row.
        shortest: characters of the shortest n-grams, the marks of beginning and end among them.
        longest: characters of the longest.

    Example:
        >>> parts = character_ngrams(["cat", "cats", None], shortest=3, longest=3)
        >>> parts.offsets.tolist(), parts.rows.tolist()  # <ca and cat are shared
        ([0, 3, 6, 7], [0, 3, 4, 1, 3, 4, 2])
    """
    ngrams = [list(dict.fromkeys(_ngrams(word, shortest, longest))) if word else [] for word in words]
    shared = (ngram for ngram, count in Counter(chain.from_iterable(ngrams)).items() if count > 1)
    numbers = {ngram: row for row, ngram in enumerate(shared, start=len(words))}
    rows = [[token, *(numbers[ngram] for ngram in own if ngram in numbers)] for token, own in enumerate(ngrams)]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in rows], dtype=np.int64)])
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(offsets[-1]))
    return Parts(offsets, flat, len(words) + len(numbers))


def means(parts: Parts, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(N, D)` vectors of the tokens, of the rows `(n_rows, D)` of their parts."""
    sums: NDArray[np.float32] = np.add.reduceat(table[parts.rows], parts.offsets[:-1], axis=0)
    sums /= np.diff(parts.offsets)[:, None]
    return sums


def _ngrams(word: str, shortest: int, longest: int) -> Iterator[str]:
    """Of the word between its marks; the whole is no n-gram of itself."""
    marked = f"<{word}>"
    for size in range(shortest, min(longest, len(marked) - 1) + 1):
        for start in range(len(marked) - size + 1):
            yield marked[start : start + size]


@lru_cache
def compiled(dim: int) -> Callable[[Slice, Plan, Parts, NDArray[np.float32], NDArray[np.float32]], None]:
    """The loop for vectors of this length: `train(part, plan, parts, inputs, outputs)`, which releases the GIL.

    The change of a token goes to each of its parts whole, as in the program of the paper, so that the token moves by
    that change.
    """

    def train(part: Slice, plan: Plan, parts: Parts, inputs: NDArray[np.float32], outputs: NDArray[np.float32]) -> None:
        most = 2 * plan.window + 1
        kept = np.empty(_longest(part.offsets), np.int32)
        context = np.zeros(most, np.int64)
        places = np.arange(most)
        hidden = np.zeros((most, dim), np.float32)
        change = np.zeros((most, dim), np.float32)
        rows = np.empty(plan.most_targets, np.int64)
        labels = np.empty(plan.most_targets, np.float32)
        errors = np.empty((plan.most_targets, most), np.float32)
        for sequence in range(len(part.offsets) - 1):
            state = _seeded(part.seed, part.sequence + sequence)
            begin, end = part.offsets[sequence], part.offsets[sequence + 1]
            rate = np.float32(_rate(plan, part.done + begin))
            length, state = _subsampled(part.tokens, begin, end, plan.keep, kept, state)
            for at in range(length):
                count, state = _contexts(kept, length, at, plan, context, state)
                if count == 0:
                    continue
                targets, state = _targets(kept[at], plan, rows, labels, state)
                _pool(inputs, parts, context, count, hidden, dim)
                blocks = count
                if plan.cbow:
                    _average(hidden, count, dim)
                    blocks = 1
                change[:blocks] = 0
                _errors(hidden, blocks, outputs, rows, labels, targets, rate, errors, dim)
                _move_inputs(change, places, blocks, outputs, rows, targets, errors, dim)
                _move_outputs(hidden, blocks, outputs, rows, targets, errors, dim)
                for i in range(count):
                    _spread(inputs, parts, context[i], change, 0 if plan.cbow else i, dim)

    loop: Callable[..., None] = _cached(train)
    return loop


@numba.njit(inline="always")
def _pool(
    inputs: NDArray[np.float32],
    parts: Parts,
    context: NDArray[np.int64],
    count: int,
    hidden: NDArray[np.float32],
    dim: int,
) -> None:
    """The mean of the parts of each context, together."""
    for at in range(count):
        begin, end = parts.offsets[context[at]], parts.offsets[context[at] + 1]
        share = np.float32(1) / np.float32(end - begin)
        for d in range(dim):
            hidden[at, d] = 0
        for place in range(begin, end):
            row = parts.rows[place]
            for d in range(dim):
                hidden[at, d] += inputs[row, d] * share


@numba.njit(inline="always")
def _spread(
    inputs: NDArray[np.float32], parts: Parts, token: int, change: NDArray[np.float32], at: int, dim: int
) -> None:
    """Adds a change to every part of a token."""
    for place in range(parts.offsets[token], parts.offsets[token + 1]):
        row = parts.rows[place]
        for d in range(dim):
            inputs[row, d] += change[at, d]
