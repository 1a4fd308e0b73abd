"""Trains vectors of tokens: one entry for compiled loops on CPU threads and for large batches on a GPU."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.errors import ConfigError, DataError, TrainingError
from recsys.recall.word2vec.config import Word2VecSettings
from recsys.recall.word2vec.corpus import Corpus, count_tokens
from recsys.recall.word2vec.huffman import huffman_paths
from recsys.recall.word2vec.kernels import Plan, Slice, compiled, rate_at
from recsys.recall.word2vec.subwords import Parts, means
from recsys.recall.word2vec.subwords import compiled as compiled_parts
from recsys.recall.word2vec.tables import alias_table, keep_probabilities, negative_weights

__all__ = ["TrainedVectors", "train_word2vec"]

Log = Callable[[str, float, int], None]
"""Takes a point of a curve: name, value, epoch."""

_SLICE = 1 << 15
"""Tokens that one thread trains on at a time, about."""
_BLOCK = 1 << 12
"""Rows drawn together."""


@dataclass(frozen=True, slots=True)
class TrainedVectors:
    """What training gives; all zeros for a token seen less than `min_count` times.

    Attributes:
        vectors: `(N, D)` float32 input vectors, the ones to compare by cosine. Of parts, a token seen less has what
            those of its parts say that others share.
        moved: `(N,)` whose own input vectors training has changed from what they were initialised with: not those of
            tokens that never stood beside another.
        output_vectors: float32 what they are multiplied with: `(N, D)` of the tokens with negative sampling, of the
            inner nodes of the Huffman tree, one fewer than tokens in it, with hierarchical softmax.
        counts: `(N,)` int64 occurrences.
    """

    vectors: NDArray[np.float32]
    moved: NDArray[np.bool_]
    output_vectors: NDArray[np.float32]
    counts: NDArray[np.int64]


def train_word2vec(
    corpus: Corpus,
    n_tokens: int,
    settings: Word2VecSettings,
    *,
    seed: int,
    log: Log | None = None,
    parts: Parts | None = None,
) -> TrainedVectors:
    """Trains by stochastic gradient descent (Mikolov 2013a, 2013b), with the choices of `word2vec.c`.

    In skip-gram each context's input vector predicts the centre; a sequence is subsampled before windows are laid; the
    change of a CBOW mean goes to every context whole. Unlike there, the contexts of a centre share its negatives.

    Takes memory for 2 · N · D float32 numbers whatever the corpus, plus 12 bytes a token with negative sampling or
    8 · log₂(N) or so with hierarchical softmax, plus a chunk of the corpus. On a GPU the two tables lie there, and a
    batch takes about 64 MB more.

    With one thread on a CPU, the same seed gives the same bytes however the corpus is cut. More threads write without
    locks (Recht 2011), and a GPU adds in any order: vectors then differ in detail from run to run.

    Args:
        corpus: sequences of tokens 0 … n_tokens − 1.
        n_tokens: N.
        settings: how to train.
        seed: of all randomness.
        log: takes `words_per_second` and `learning_rate` after each epoch.
        parts: what the input vector of each token is the mean of; trained on the CPU, whatever `device` says.

    Raises:
        DataError: a token is outside the range, or none reaches `min_count`.
        ConfigError: `device` is `cuda` and there is none.
        TrainingError: vectors became infinite.
    """
    counts = count_tokens(corpus, n_tokens)
    known = counts >= settings.min_count
    if not known.any():
        raise DataError(
            f"corpus: no token occurs {settings.min_count} times, the most frequent {counts.max(initial=0)} times; "
            "lower min_count or give more sequences"
        )
    plan = _plan(np.where(known, counts, 0), settings, total=settings.epochs * int(counts.sum()))
    trained = known if parts is None else parts.of(known)
    inputs, outputs = _initial(known, trained, plan, settings, seed)
    trainer = (
        _trainer(plan, inputs, outputs, settings, seed)
        if parts is None
        else _PartsTrainer(plan, inputs, outputs, settings.threads, parts)
    )
    epoch_tokens = int(counts.sum())
    for epoch in range(settings.epochs):
        began = time.perf_counter()
        trainer.epoch(_slices(corpus, seed=_epoch_seed(seed, epoch), done=epoch * epoch_tokens))
        if log is not None:
            log("words_per_second", epoch_tokens / (time.perf_counter() - began), epoch)
            log("learning_rate", rate_at(plan, (epoch + 1) * epoch_tokens), epoch)
    table, output_vectors = trainer.tables()
    vectors = table if parts is None else means(parts, table)
    if not (np.isfinite(vectors).all() and np.isfinite(output_vectors).all()):
        raise TrainingError(f"word2vec: vectors became infinite; lower learning_rate, found {settings.learning_rate:g}")
    return TrainedVectors(vectors, _moved(table[:n_tokens], seed), output_vectors, counts)


class _Trainer(Protocol):
    """Trains on slices and has the result."""

    def epoch(self, parts: Iterator[Slice]) -> None:
        """One pass."""
        ...

    def tables(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The tables of input and of output vectors."""
        ...


@dataclass(frozen=True, slots=True)
class _CompiledTrainer:
    """Trains on CPU threads, in place."""

    plan: Plan
    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]
    threads: int

    def epoch(self, parts: Iterator[Slice]) -> None:
        loop = compiled(self.inputs.shape[1])
        _each(lambda part: loop(part, self.plan, self.inputs, self.outputs), parts, self.threads)

    def tables(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.inputs, self.outputs


@dataclass(frozen=True, slots=True)
class _PartsTrainer:
    """Trains the parts of tokens on CPU threads, in place."""

    plan: Plan
    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]
    threads: int
    parts: Parts

    def epoch(self, slices: Iterator[Slice]) -> None:
        loop = compiled_parts(self.inputs.shape[1])
        _each(lambda part: loop(part, self.plan, self.parts, self.inputs, self.outputs), slices, self.threads)

    def tables(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.inputs, self.outputs


def _each(work: Callable[[Slice], None], parts: Iterator[Slice], threads: int) -> None:
    """Does the work of every part; no more parts are read ahead than keep the threads busy."""
    if threads == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[None]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > 2 * threads:
                waiting.popleft().result()
        for future in waiting:
            future.result()


def _trainer(
    plan: Plan, inputs: NDArray[np.float32], outputs: NDArray[np.float32], settings: Word2VecSettings, seed: int
) -> _Trainer:
    if settings.device == "cpu":
        return _CompiledTrainer(plan, inputs, outputs, settings.threads)
    # torch takes seconds to import, which training on a CPU need not wait for.
    from recsys.recall.word2vec.torch_train import TorchTrainer, has_cuda

    if has_cuda():
        return TorchTrainer(plan, inputs, outputs, device="cuda", seed=seed)
    if settings.device == "cuda":
        raise ConfigError("device: found cuda, but torch sees no CUDA device here; set device: cpu or auto")
    return _CompiledTrainer(plan, inputs, outputs, settings.threads)


def _plan(counts: NDArray[np.int64], settings: Word2VecSettings, *, total: int) -> Plan:
    """Tables by count; those of the loss that is not used are empty."""
    hierarchical = settings.loss == "hierarchical_softmax"
    paths = huffman_paths(counts if hierarchical else counts[:0])
    weights = negative_weights(counts[:0] if hierarchical else counts, power=settings.negative_power)
    longest = int(np.diff(paths.offsets).max(initial=0))
    return Plan(
        window=settings.window,
        dynamic=settings.dynamic_window,
        cbow=settings.architecture == "cbow",
        hierarchical=hierarchical,
        negatives=settings.num_negatives,
        keep=keep_probabilities(counts, subsample=settings.subsample),
        alias=alias_table(weights),
        path_offsets=paths.offsets,
        path_nodes=paths.nodes,
        path_turns=paths.turns,
        most_targets=max(longest, 1) if hierarchical else 1 + settings.num_negatives,
        total=total,
        first_rate=settings.learning_rate,
        last_rate=settings.min_learning_rate,
    )


def _initial(
    known: NDArray[np.bool_],
    trained: NDArray[np.bool_],
    plan: Plan,
    settings: Word2VecSettings,
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs even in ±1/D, outputs zero.

    `word2vec.c` begins with half of that, from where a short training gets less far: nothing moves the outputs but
    inputs, nor the inputs but outputs.
    """
    dim = settings.embedding_dim
    inputs = np.empty((len(trained), dim), dtype=np.float32)
    for rows, drawn in _drawn(inputs.shape, seed):
        inputs[rows] = drawn
    inputs[~trained] = 0
    n_outputs = max(int(known.sum()) - 1, 0) if plan.hierarchical else len(known)
    return inputs, np.zeros((n_outputs, dim), dtype=np.float32)


def _moved(inputs: NDArray[np.float32], seed: int) -> NDArray[np.bool_]:
    """`(N,)` which of the first N rows are neither zero nor as `_initial` drew them.

    They are drawn again, a block at a time, as a copy would take the memory of a third table.
    """
    moved: NDArray[np.bool_] = np.any(inputs, axis=1)
    for rows, drawn in _drawn(inputs.shape, seed):
        moved[rows] &= (inputs[rows] != drawn).any(axis=1)
    return moved


def _drawn(shape: tuple[int, ...], seed: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Blocks of rows of a table `(N, D)`, even in ±1/D: the same first rows whatever N."""
    rng = np.random.default_rng(seed)
    for start in range(0, shape[0], _BLOCK):
        rows = slice(start, min(start + _BLOCK, shape[0]))
        drawn = rng.random((rows.stop - start, shape[1]), dtype=np.float32)
        drawn -= np.float32(0.5)
        drawn *= np.float32(2 / shape[1])
        yield rows, drawn


def _epoch_seed(seed: int, epoch: int) -> int:
    """63 bits that differ by seed and epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _slices(corpus: Corpus, *, seed: int, done: int) -> Iterator[Slice]:
    """The corpus in whole sequences of about `_SLICE` tokens or a single longer one."""
    sequence = 0
    for tokens, offsets in corpus.chunks():
        first, last = 0, len(offsets) - 1
        while first < last:
            end = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _SLICE, side="right")) - 1)
            yield Slice(tokens, offsets[first : end + 1], seed, sequence, done)
            sequence += end - first
            first = end
        done += len(tokens)
