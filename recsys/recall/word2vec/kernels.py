"""The compiled loop of the trainer: every centre a small dense block of contexts against its targets.

Pair by pair, as in `word2vec.c`, each context reads and writes a row far away for each of its targets. Here the
contexts of a centre share its targets (its Huffman path anyway; its negatives as in Ji et al. 2016, "Parallelizing
Word2Vec in Shared and Distributed Memory", section III), so a target's row stays in the first-level cache for the whole
window. The step is the exact gradient of the block's loss: all errors are taken before any update.

Every loop writes one row and reads few. A compiler has to prove at run time that they do not overlap, and gives up on
vectors when there is much to prove: updating four rows in one loop is slower than one.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Plan", "Slice", "compiled", "rate_at"]

_RANGE = np.float32(8.0)
"""Products beyond ± this count as this: the sigmoid is within .0004 of its end."""
_CELLS = 1 << 12
_SCALE = np.float32(_CELLS / 2) / _RANGE
_SIGMOID = (1 / (1 + np.exp(_RANGE - (np.arange(_CELLS) + 0.5) / _SCALE))).astype(np.float32)
"""The sigmoid in the middle of each cell, off by at most .0005."""
_WIDTH = np.float32(2 * _RANGE - 0.001)
"""Just inside the last cell."""
_LAST = np.int64(_CELLS - 1)

_ONE = np.uint64(1)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


class Plan(NamedTuple):
    """What every step needs to know; V tokens.

    Attributes:
        window: tokens on each side.
        dynamic: whether each centre draws its window from 1 to `window`.
        cbow: whether the mean of the contexts is the input, not each.
        hierarchical: whether targets are a Huffman path, not the centre and negatives.
        negatives: drawn for each centre.
        keep: `(V,)` float32 how probably an occurrence is kept.
        alias: `(V, 2)` uint32 table negatives are drawn from.
        path_offsets: `(V + 1,)` int64 into the next two.
        path_nodes: int32 rows of the output vectors.
        path_turns: float32 labels of the decisions.
        most_targets: of any centre.
        total: tokens of all epochs together.
        first_rate: learning rate at the first token.
        last_rate: learning rate after the last.
    """

    window: int
    dynamic: bool
    cbow: bool
    hierarchical: bool
    negatives: int
    keep: NDArray[np.float32]
    alias: NDArray[np.uint32]
    path_offsets: NDArray[np.int64]
    path_nodes: NDArray[np.int32]
    path_turns: NDArray[np.float32]
    most_targets: int
    total: int
    first_rate: float
    last_rate: float


class Slice(NamedTuple):
    """Sequences that one call trains on.

    Attributes:
        tokens: int32 of a chunk, to which `offsets` refer.
        offsets: `(S + 1,)` int64; sequence s is `tokens[offsets[s]:offsets[s + 1]]`.
        seed: of the run and the epoch.
        sequence: number of the first sequence in the corpus: each draws from a generator of its own, so that results
            do not depend on how the corpus is cut.
        done: tokens before `tokens[0]`, of all epochs.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    seed: int
    sequence: int
    done: int


def rate_at(plan: Plan, done: int) -> float:
    """The learning rate after so many tokens of all epochs: a straight line."""
    return plan.first_rate + (plan.last_rate - plan.first_rate) * done / plan.total


_rate: Any = numba.njit(rate_at, inline="always")


_OWN_NAME = "recsys.recall.word2vec.kernels"


@lru_cache
def compiled(dim: int) -> Callable[[Slice, Plan, NDArray[np.float32], NDArray[np.float32]], None]:
    """The loop for vectors of this length: `train(part, plan, inputs, outputs)`, which releases the GIL.

    A constant length lets the compiler unroll, which makes it about twice as fast. Compiling takes seconds; the result
    is cached beside this file or, where that is read-only, in the user's cache folder, or nowhere if that is, too.
    """

    def train(part: Slice, plan: Plan, inputs: NDArray[np.float32], outputs: NDArray[np.float32]) -> None:
        most = 2 * plan.window + 1
        kept = np.empty(_longest(part.offsets), np.int32)
        context = np.zeros(most, np.int64)
        hidden = np.zeros((most, dim), np.float32)
        change = np.zeros((1, dim), np.float32)
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
                _gather(inputs, context, count, hidden, dim)
                if plan.cbow:
                    _average(hidden, count, dim)
                    change[:] = 0
                    _errors(hidden, 1, outputs, rows, labels, targets, rate, errors, dim)
                    _move_inputs(change, _FIRST, 1, outputs, rows, targets, errors, dim)
                    _move_outputs(hidden, 1, outputs, rows, targets, errors, dim)
                    _scatter(inputs, context, count, change, dim)
                else:
                    _errors(hidden, count, outputs, rows, labels, targets, rate, errors, dim)
                    _move_inputs(inputs, context, count, outputs, rows, targets, errors, dim)
                    _move_outputs(hidden, count, outputs, rows, targets, errors, dim)

    loop: Callable[..., None] = _cached(train)
    return loop


def _cached(function: Callable[..., None]) -> Any:  # noqa: ANN401  numba is untyped
    """Compiled, from the cache where there is a place for one."""
    # Sums may be taken in any order and multiplied and added at once, but NaN and infinity stay what they are.
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
    # The cache names the module: written under another name, by a tool that loads files, it could not be read again.
    if __name__ != _OWN_NAME:
        return numba.njit(**options)(function)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        # numba finds no folder it may write to.
        return numba.njit(**options)(function)


_FIRST = np.zeros(1, np.int64)


@numba.njit(inline="always")
def _longest(offsets: NDArray[np.int64]) -> int:
    """Tokens of the longest sequence."""
    longest = 0
    for sequence in range(len(offsets) - 1):
        longest = max(longest, offsets[sequence + 1] - offsets[sequence])
    return longest


@numba.njit(inline="always")
def _mixed(value: np.uint64) -> np.uint64:
    """Finaliser of splitmix64 (Steele 2014): any change of the input changes half of the bits."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@numba.njit(inline="always")
def _seeded(seed: int, sequence: int) -> np.uint64:
    """A generator's state, never 0, for each sequence of each epoch."""
    return _mixed(_mixed(np.uint64(seed)) + np.uint64(sequence)) | _ONE


@numba.njit(inline="always")
def _next(state: np.uint64) -> np.uint64:
    """One step of xorshift64* (Vigna 2016, section 3)."""
    state ^= state >> np.uint64(12)
    state ^= state << np.uint64(25)
    state ^= state >> np.uint64(27)
    return state


@numba.njit(inline="always")
def _bits(state: np.uint64) -> np.uint64:
    """64 random bits."""
    return state * np.uint64(0x2545F4914F6CDD1D)


@numba.njit(inline="always")
def _below(bits: np.uint64, size: int) -> np.int64:
    """A number under `size`, which fits 32 bits, from the upper half of the bits."""
    return np.int64(((bits >> _HALF) * np.uint64(size)) >> _HALF)


@numba.njit(inline="always")
def _subsampled(
    tokens: NDArray[np.int32],
    begin: int,
    end: int,
    keep: NDArray[np.float32],
    kept: NDArray[np.int32],
    state: np.uint64,
) -> tuple[int, np.uint64]:
    """Copies what is kept of a sequence; how many."""
    length = 0
    for at in range(begin, end):
        token = tokens[at]
        probability = keep[token]
        if probability <= 0:
            continue
        if probability < 1:
            state = _next(state)
            if np.float32(_bits(state) >> np.uint64(40)) >= probability * np.float32(1 << 24):
                continue
        kept[length] = token
        length += 1
    return length, state


@numba.njit(inline="always")
def _contexts(
    kept: NDArray[np.int32], length: int, at: int, plan: Plan, context: NDArray[np.int64], state: np.uint64
) -> tuple[int, np.uint64]:
    """Lists the tokens around a centre; how many."""
    reach: Any = plan.window
    if plan.dynamic:
        state = _next(state)
        reach = 1 + _below(_bits(state), plan.window)
    count = 0
    for other in range(max(0, at - reach), min(length, at + reach + 1)):
        if other != at:
            context[count] = kept[other]
            count += 1
    return count, state


@numba.njit(inline="always")
def _targets(
    centre: int, plan: Plan, rows: NDArray[np.int64], labels: NDArray[np.float32], state: np.uint64
) -> tuple[int, np.uint64]:
    """Lists the output rows a centre is told by, and their labels; how many."""
    count = 0
    if plan.hierarchical:
        for at in range(plan.path_offsets[centre], plan.path_offsets[centre + 1]):
            rows[count] = plan.path_nodes[at]
            labels[count] = plan.path_turns[at]
            count += 1
        return count, state
    rows[0] = centre
    labels[0] = 1
    count = 1
    for _ in range(plan.negatives):
        state = _next(state)
        bits = _bits(state)
        row = _below(bits, len(plan.alias))
        if (bits & _LOW) >= plan.alias[row, 0]:
            row = np.int64(plan.alias[row, 1])
        if row != centre:
            rows[count] = row
            labels[count] = 0
            count += 1
    return count, state


@numba.njit(inline="always")
def _gather(
    inputs: NDArray[np.float32], context: NDArray[np.int64], count: int, hidden: NDArray[np.float32], dim: int
) -> None:
    """Copies rows together."""
    for at in range(count):
        row = context[at]
        for d in range(dim):
            hidden[at, d] = inputs[row, d]


@numba.njit(inline="always")
def _average(hidden: NDArray[np.float32], count: int, dim: int) -> None:
    """The mean of the rows, into the first."""
    for at in range(1, count):
        for d in range(dim):
            hidden[0, d] += hidden[at, d]
    share = np.float32(1) / np.float32(count)
    for d in range(dim):
        hidden[0, d] *= share


@numba.njit(inline="always")
def _scatter(
    inputs: NDArray[np.float32], context: NDArray[np.int64], count: int, change: NDArray[np.float32], dim: int
) -> None:
    """Adds the change to every context: whole, not its share, as `word2vec.c` does."""
    for at in range(count):
        row = context[at]
        for d in range(dim):
            inputs[row, d] += change[0, d]


@numba.njit(inline="always")
def _errors(
    hidden: NDArray[np.float32],
    count: int,
    outputs: NDArray[np.float32],
    rows: NDArray[np.int64],
    labels: NDArray[np.float32],
    targets: int,
    rate: np.float32,
    errors: NDArray[np.float32],
    dim: int,
) -> None:
    """`errors[t, i]` = rate · (label_t − σ(hidden_i · output_t)).

    Two products at a time share the reads of the output row; the odd last reads one hidden row more than there is.
    """
    for target in range(targets):
        row = rows[target]
        for at in range(0, count, 2):
            one = np.float32(0)
            two = np.float32(0)
            for d in range(dim):
                one += hidden[at, d] * outputs[row, d]
                two += hidden[at + 1, d] * outputs[row, d]
            errors[target, at] = one
            errors[target, at + 1] = two
        label = labels[target]
        for at in range(count):
            place = np.int64(min(max(errors[target, at] + _RANGE, np.float32(0)), _WIDTH) * _SCALE)
            # Masked: what a NaN becomes as an integer must not lead out of the table.
            errors[target, at] = (label - _SIGMOID[place & _LAST]) * rate


@numba.njit(inline="always")
def _move_inputs(
    into: NDArray[np.float32],
    context: NDArray[np.int64],
    count: int,
    outputs: NDArray[np.float32],
    rows: NDArray[np.int64],
    targets: int,
    errors: NDArray[np.float32],
    dim: int,
) -> None:
    """`into[context_i]` += Σ_t errors[t, i] · output_t, four targets at a time."""
    for i in range(count):
        row = context[i]
        for t in range(0, targets - 3, 4):
            r0, r1, r2, r3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
            e0, e1, e2, e3 = errors[t, i], errors[t + 1, i], errors[t + 2, i], errors[t + 3, i]
            for d in range(dim):
                into[row, d] += e0 * outputs[r0, d] + e1 * outputs[r1, d] + e2 * outputs[r2, d] + e3 * outputs[r3, d]
        for t in range(targets // 4 * 4, targets):
            r0, e0 = rows[t], errors[t, i]
            for d in range(dim):
                into[row, d] += e0 * outputs[r0, d]


@numba.njit(inline="always")
def _move_outputs(
    hidden: NDArray[np.float32],
    count: int,
    outputs: NDArray[np.float32],
    rows: NDArray[np.int64],
    targets: int,
    errors: NDArray[np.float32],
    dim: int,
) -> None:
    """`output_t` += Σ_i errors[t, i] · hidden_i, four inputs at a time; hidden rows are copies from before the step."""
    for t in range(targets):
        row = rows[t]
        for i in range(0, count - 3, 4):
            e0, e1, e2, e3 = errors[t, i], errors[t, i + 1], errors[t, i + 2], errors[t, i + 3]
            for d in range(dim):
                outputs[row, d] += (
                    e0 * hidden[i, d] + e1 * hidden[i + 1, d] + e2 * hidden[i + 2, d] + e3 * hidden[i + 3, d]
                )
        for i in range(count // 4 * 4, count):
            e0 = errors[t, i]
            for d in range(dim):
                outputs[row, d] += e0 * hidden[i, d]
