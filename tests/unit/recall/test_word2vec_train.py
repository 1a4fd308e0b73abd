from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from recsys.errors import ConfigError, DataError, TrainingError
from recsys.recall.word2vec import kernels, torch_train, train
from recsys.recall.word2vec.config import Word2VecSettings
from recsys.recall.word2vec.corpus import MemoryCorpus, ParquetCorpus
from recsys.recall.word2vec.huffman import huffman_paths
from recsys.recall.word2vec.train import train_word2vec

DIM = 16
KINDS = [
    {"architecture": architecture, "loss": loss}
    for architecture, loss in product(("skip_gram", "cbow"), ("negative_sampling", "hierarchical_softmax"))
]
SEQUENCE = np.array([0, 1, 3, 0, 4, 2, 1], dtype=np.int32)
RATE = 0.5


def corpus_of(sequences):
    lengths = [len(sequence) for sequence in sequences]
    tokens = np.concatenate([np.zeros(0), *sequences]).astype(np.int32)
    return MemoryCorpus(tokens, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))


def topics(seed=0, n_topics=12, size=10, sequences=1500):
    """Sequences of items of one topic each, every tenth item anywhere; item i is of topic i // size."""
    rng = np.random.default_rng(seed)
    lists = []
    for topic in rng.integers(0, n_topics, sequences):
        items = topic * size + rng.integers(0, size, rng.integers(5, 20))
        lists.append(np.where(rng.random(len(items)) < 0.1, rng.integers(0, n_topics * size, len(items)), items))
    return corpus_of(lists)


def topic_hit(vectors, size=10, k=5):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    near = np.argsort(-scores, axis=1)[:, :k]
    return (near // size == np.arange(len(vectors))[:, None] // size).mean()


def quick(**given):
    return Word2VecSettings(**{"embedding_dim": DIM, "device": "cpu", "learning_rate": 0.05, "epochs": 10, **given})


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_it_says_which_vectors_are_still_as_they_were_drawn(kind, threads):
    """Tokens 6 and 7 stand alone, 8 occurs once too rarely, 9 never."""
    corpus = corpus_of([[0, 1, 2], [2, 3, 4, 5], [6], [6], [7], [8, 1], [7], [5, 0, 3], [1, 4]] * 2 + [[8]])
    trained = train_word2vec(corpus, 10, quick(**kind, min_count=4, threads=threads), seed=5)
    assert np.flatnonzero(trained.moved).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(trained.vectors.any(axis=1)).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_large_tables_are_drawn_in_blocks_as_in_one(monkeypatch):
    whole = [part for _, part in train._drawn((300, 7), 3)]
    assert len(whole) == 1
    monkeypatch.setattr(train, "_BLOCK", 41)
    blocks = list(train._drawn((300, 7), 3))
    np.testing.assert_array_equal(np.concatenate([part for _, part in blocks]), whole[0])
    assert [rows.stop - rows.start for rows, _ in blocks] == [41] * 7 + [13]


def plan_of(kind, window):
    """Nothing drawn: full windows, and both negatives are always token 2."""
    hierarchical = kind["loss"] == "hierarchical_softmax"
    paths = huffman_paths(np.bincount(SEQUENCE))
    return kernels.Plan(
        window=window,
        dynamic=False,
        cbow=kind["architecture"] == "cbow",
        hierarchical=hierarchical,
        negatives=2,
        keep=np.ones(5, dtype=np.float32),
        alias=np.array([[0, 2]] * 5, dtype=np.uint32),
        path_offsets=paths.offsets,
        path_nodes=paths.nodes,
        path_turns=paths.turns,
        most_targets=5,
        total=len(SEQUENCE),
        first_rate=RATE,
        last_rate=RATE,
    )


def examples(plan):
    """Each centre's contexts, output rows and labels."""
    for at, centre in enumerate(SEQUENCE):
        contexts = [
            SEQUENCE[i] for i in range(at - plan.window, at + plan.window + 1) if i != at and 0 <= i < len(SEQUENCE)
        ]
        if plan.hierarchical:
            way = slice(plan.path_offsets[centre], plan.path_offsets[centre + 1])
            yield contexts, plan.path_nodes[way], plan.path_turns[way]
        else:
            negatives = [2, 2] if centre != 2 else []
            yield contexts, [centre, *negatives], [1, *(0 for _ in negatives)]


def gradients(plan, inputs, outputs, contexts, rows, labels):
    """What one centre adds to both tables."""
    to_inputs, to_outputs = np.zeros_like(inputs), np.zeros_like(outputs)
    hidden = inputs[contexts].mean(axis=0, keepdims=True) if plan.cbow else inputs[contexts]
    errors = RATE * (np.asarray(labels) - 1 / (1 + np.exp(-hidden @ outputs[rows].T)))
    np.add.at(to_inputs, contexts, np.broadcast_to(errors @ outputs[rows], (len(contexts), DIM)))
    np.add.at(to_outputs, rows, errors.T @ hidden)
    return to_inputs, to_outputs


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    return tuple(rng.normal(scale=0.5, size=(5, DIM)).astype(np.float32) for _ in range(2))


@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_centre_takes_the_gradient_step_of_its_block(kind, window, tables):
    plan = plan_of(kind, window)
    inputs, outputs = (table.astype(np.float64) for table in tables)
    for example in examples(plan):
        to_inputs, to_outputs = gradients(plan, inputs, outputs, *example)
        inputs, outputs = inputs + to_inputs, outputs + to_outputs
    found = [table.copy() for table in tables]
    part = kernels.Slice(SEQUENCE, np.array([0, len(SEQUENCE)]), 1, 0, 0)
    kernels.compiled(DIM)(part, plan, *found)
    # The sigmoid is off by .0005 at most.
    np.testing.assert_allclose(found[0], inputs, atol=5e-3)
    np.testing.assert_allclose(found[1], outputs, atol=5e-3)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_torch_batch_takes_the_sum_of_the_steps(kind, tables):
    plan = plan_of(kind, window=1)
    inputs, outputs = (table.astype(np.float64) for table in tables)
    changes = [gradients(plan, inputs, outputs, *example) for example in examples(plan)]
    trainer = torch_train.TorchTrainer(plan, *tables, device="cpu", seed=0)
    trainer.epoch(iter([kernels.Slice(SEQUENCE, np.array([0, len(SEQUENCE)]), 1, 0, 0)]))
    found = trainer.tables()
    np.testing.assert_allclose(found[0], inputs + sum(change for change, _ in changes), atol=1e-5)
    np.testing.assert_allclose(found[1], outputs + sum(change for _, change in changes), atol=1e-5)


def test_rows_that_occur_often_in_a_batch_move_by_their_mean_change():
    table = torch.zeros(3, 1)
    rows = torch.tensor([0] * 64 + [1] * 4 + [2] * 64)
    counted = torch.arange(132) < 128
    torch_train._add(table, rows, counted[:, None].float(), counted)
    # 64 changes of 1 count as 32, 4 as 4, and of the last 64 rows 60 count.
    np.testing.assert_allclose(table.numpy(), [[32], [4], [32]], rtol=1e-6)


@pytest.fixture
def with_torch(monkeypatch):
    def trainer(plan, inputs, outputs, settings, seed):
        return torch_train.TorchTrainer(plan, inputs, outputs, device="cpu", seed=seed)

    monkeypatch.setattr(train, "_trainer", trainer)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_neighbours_share_the_topic(kind):
    trained = train_word2vec(topics(), 120, quick(**kind), seed=0)
    assert topic_hit(trained.vectors) > 0.97


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.usefixtures("with_torch")
def test_neighbours_share_the_topic_through_torch(kind):
    trained = train_word2vec(topics(), 120, quick(**kind), seed=0)
    assert topic_hit(trained.vectors) > 0.97


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_neighbours_share_the_topic_on_a_gpu(kind):
    trained = train_word2vec(topics(), 120, quick(**kind, device="cuda"), seed=0)
    assert topic_hit(trained.vectors) > 0.97


@pytest.mark.parametrize(
    "settings",
    [{"negative_power": -0.5}, {"dynamic_window": False}, {"subsample": 0.005}, {"threads": 2}, {"num_negatives": 20}],
    ids=str,
)
def test_neighbours_share_the_topic_whatever_the_settings(settings):
    trained = train_word2vec(topics(), 120, quick(**settings), seed=0)
    assert topic_hit(trained.vectors) > 0.97


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_same_seed_same_bytes_however_the_corpus_is_cut(kind, tmp_path, monkeypatch):
    corpus = topics(sequences=200)
    settings = quick(**kind, epochs=2, subsample=0.01)
    first = train_word2vec(corpus, 120, settings, seed=3)
    again = train_word2vec(corpus, 120, settings, seed=3)
    other = train_word2vec(corpus, 120, settings, seed=4)
    path = tmp_path / "corpus.parquet"
    lists = np.split(corpus.tokens, corpus.offsets[1:-1])
    pq.write_table(pa.table({"items": lists}), path, row_group_size=30)
    monkeypatch.setattr(train, "_SLICE", 100)
    streamed = train_word2vec(ParquetCorpus(path, "items"), 120, settings, seed=3)
    assert first.vectors.tobytes() == again.vectors.tobytes() == streamed.vectors.tobytes()
    assert first.output_vectors.tobytes() == again.output_vectors.tobytes() == streamed.output_vectors.tobytes()
    assert first.vectors.tobytes() != other.vectors.tobytes()


@pytest.mark.usefixtures("with_torch")
def test_same_seed_same_vectors_through_torch():
    corpus = topics(sequences=100)
    first, again = (train_word2vec(corpus, 120, quick(epochs=1), seed=3).vectors for _ in range(2))
    np.testing.assert_allclose(first, again, atol=1e-6)


def test_subsampling_keeps_as_many_as_it_should():
    sequence = np.zeros(20_000, dtype=np.int32)
    kept = np.empty_like(sequence)
    keep = np.array([0.3], dtype=np.float32)
    count, _ = kernels._subsampled(sequence, 0, 20_000, keep, kept, np.uint64(1))
    assert abs(count / 20_000 - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 20_000)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_rare_and_absent_tokens_have_no_vector_and_change_nothing(kind):
    known = corpus_of([[0, 1, 2, 1], [2, 0, 1, 0, 2]])
    noisy = corpus_of([[0, 4, 1, 2, 1], [2, 0, 1, 0, 2]])
    settings = quick(**kind, min_count=2, learning_rate=0.05, min_learning_rate=0.05)
    clean, found = (train_word2vec(corpus, 5, settings, seed=0) for corpus in (known, noisy))
    assert found.counts.tolist() == [3, 3, 3, 0, 1]
    assert not found.vectors[3:].any()
    assert np.abs(found.vectors[:3]).min(axis=1).all()
    assert found.vectors.tobytes() == clean.vectors.tobytes()
    assert len(found.output_vectors) == (2 if kind["loss"] == "hierarchical_softmax" else 5)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("sequences", [[[0]], [[0], [], [0]], [[0, 0, 0]]], ids=str)
def test_a_corpus_that_teaches_nothing_leaves_finite_vectors(kind, sequences):
    trained = train_word2vec(corpus_of(sequences), 2, quick(**kind, subsample=1e-5), seed=0)
    assert np.isfinite(trained.vectors).all()
    assert trained.vectors[0].any()


@pytest.mark.usefixtures("with_torch")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_corpus_that_teaches_nothing_leaves_finite_vectors_through_torch(kind):
    trained = train_word2vec(corpus_of([[0], [], [0, 0]]), 2, quick(**kind, subsample=1e-5), seed=0)
    assert np.isfinite(trained.vectors).all()


def test_the_learning_rate_falls_linearly_and_the_log_says_so():
    points = []
    settings = quick(epochs=4, learning_rate=0.1, min_learning_rate=0.02)
    train_word2vec(topics(sequences=20), 120, settings, seed=0, log=lambda *point: points.append(point))
    rates = [value for name, value, _ in points if name == "learning_rate"]
    np.testing.assert_allclose(rates, [0.08, 0.06, 0.04, 0.02])
    assert [epoch for name, value, epoch in points if name == "words_per_second" and value > 0] == [0, 1, 2, 3]


@pytest.mark.parametrize("sequences", [[], [[]], [[0, 1], [1]]], ids=str)
def test_a_corpus_without_known_tokens_is_refused(sequences):
    most = max(np.bincount(corpus_of(sequences).tokens, minlength=1))
    message = f"no token occurs 3 times, the most frequent {most} times; lower min_count or give more sequences"
    with pytest.raises(DataError, match=f"^corpus: {message}$"):
        train_word2vec(corpus_of(sequences), 2, quick(min_count=3), seed=0)


def test_vectors_that_run_away_are_an_error():
    with pytest.raises(TrainingError, match=r"^word2vec: vectors became infinite; lower learning_rate, found 1e\+30$"):
        train_word2vec(topics(sequences=50), 120, quick(learning_rate=1e30), seed=0)


def test_cuda_without_a_device_is_refused_and_auto_does_without(monkeypatch):
    monkeypatch.setattr(torch_train, "has_cuda", lambda: False)
    corpus = topics(sequences=20)
    with pytest.raises(
        ConfigError, match=r"^device: found cuda, but torch sees no CUDA device here; set device: cpu or"
    ):
        train_word2vec(corpus, 120, quick(device="cuda"), seed=0)
    automatic = train_word2vec(corpus, 120, quick(device="auto"), seed=0)
    assert automatic.vectors.tobytes() == train_word2vec(corpus, 120, quick(), seed=0).vectors.tobytes()


def test_an_error_on_a_thread_is_raised():
    def work(part):
        raise TrainingError("here")

    with pytest.raises(TrainingError, match=r"^here$"):
        train._each(work, iter([None] * 9), threads=2)


def test_without_a_place_for_a_cache_the_loop_is_compiled_all_the_same(monkeypatch):
    def njit(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'train': no locator available for file 'kernels.py'")
        return lambda function: ("compiled", function)

    monkeypatch.setattr(kernels.numba, "njit", njit)
    assert kernels._cached(len) == ("compiled", len)
