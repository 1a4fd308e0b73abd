"""FastText: the n-grams of words, and the training of what they share."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from recsys.recall.word2vec import kernels
from recsys.recall.word2vec.config import Word2VecSettings
from recsys.recall.word2vec.corpus import MemoryCorpus
from recsys.recall.word2vec.huffman import huffman_paths
from recsys.recall.word2vec.subwords import Parts, character_ngrams, compiled, means
from recsys.recall.word2vec.train import train_word2vec

DIM, RATE = 16, 0.5
SEQUENCE = np.array([0, 1, 3, 0, 4, 2, 1], dtype=np.int32)
PARTS = Parts(np.array([0, 3, 5, 6, 9, 11]), np.array([0, 5, 6, 1, 5, 2, 3, 6, 5, 4, 7], np.int32), 8)
KINDS = list(product(("skip_gram", "cbow"), ("negative_sampling", "hierarchical_softmax")))


def test_ngrams_are_those_of_the_paper():
    # Section 3.2: of "where" the 3-grams are <wh, whe, her, ere and re>; "her>" is another than "her".
    parts = character_ngrams(["where", "whe", "here", "ere", "her"], shortest=3, longest=3)
    by_word = [set(parts.rows[a:b].tolist()) for a, b in zip(parts.offsets, parts.offsets[1:], strict=False)]
    ngrams = [{"<wh", "whe", "her", "ere", "re>"}, {"<wh", "whe", "he>"}, {"<he", "her", "ere", "re>"}]
    ngrams += [{"<er", "ere", "re>"}, {"<he", "her", "er>"}]
    shared = [{n for n in own if sum(n in other for other in ngrams) > 1} for own in ngrams]
    for word, own in enumerate(by_word):
        assert {row for row in own if row < 5} == {word}
        assert len(own) == 1 + len(shared[word])
        for other in range(5):
            assert len((own & by_word[other]) - set(range(5))) == len(shared[word] & shared[other])
    assert parts.n_rows == 5 + len(set().union(*shared))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("ab", min_size=1, max_size=6), unique=True, min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_words_share_as_many_rows_as_ngrams(texts, shortest, more):
    parts = character_ngrams([*texts, None], shortest=shortest, longest=shortest + more)
    rows = [set(parts.rows[a:b].tolist()) for a, b in zip(parts.offsets, parts.offsets[1:], strict=False)]

    def ngrams(text):
        marked = f"<{text}>"
        sizes = range(shortest, min(shortest + more, len(marked) - 1) + 1)
        return {marked[at : at + size] for size in sizes for at in range(len(marked) - size + 1)}

    for one, two in product(range(len(texts)), repeat=2):
        if one != two:
            assert len(rows[one] & rows[two]) == len(ngrams(texts[one]) & ngrams(texts[two]))
    assert rows[-1] == {len(texts)}
    assert set().union(*rows) == set(range(parts.n_rows))


def test_a_vector_is_the_mean_of_its_parts():
    table = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    expected = [
        table[[0, 5, 6]].mean(0),
        table[[1, 5]].mean(0),
        table[2],
        table[[3, 6, 5]].mean(0),
        table[[4, 7]].mean(0),
    ]
    assert_allclose(means(PARTS, table), expected, rtol=1e-6)


def plan_of(architecture, loss, rate):
    """Nothing is drawn: windows are full, and both negatives are always token 2."""
    paths = huffman_paths(np.bincount(SEQUENCE))
    return kernels.Plan(
        window=2,
        dynamic=False,
        cbow=architecture == "cbow",
        hierarchical=loss == "hierarchical_softmax",
        negatives=2,
        keep=np.ones(5, dtype=np.float32),
        alias=np.array([[0, 2]] * 5, dtype=np.uint32),
        path_offsets=paths.offsets,
        path_nodes=paths.nodes,
        path_turns=paths.turns,
        most_targets=5,
        total=len(SEQUENCE),
        first_rate=rate,
        last_rate=rate,
    )


def example(plan, at):
    """The contexts of the centre at a place, the output rows it is told by, and what each should say."""
    centre = SEQUENCE[at]
    around = [SEQUENCE[i] for i in range(at - plan.window, at + plan.window + 1) if i != at and 0 <= i < len(SEQUENCE)]
    if plan.hierarchical:
        way = slice(plan.path_offsets[centre], plan.path_offsets[centre + 1])
        return around, plan.path_nodes[way], plan.path_turns[way]
    negatives = [2, 2] if centre != 2 else []
    return around, [centre, *negatives], [1.0, *(0.0 for _ in negatives)]


def own(token):
    return PARTS.rows[PARTS.offsets[token] : PARTS.offsets[token + 1]]


def step(plan, inputs, outputs, at):
    """What the centre at a place adds to both tables."""
    around, rows, labels = example(plan, at)
    hidden = np.stack([inputs[own(token)].mean(axis=0) for token in around])
    if plan.cbow:
        hidden = hidden.mean(axis=0, keepdims=True)
    errors = RATE * (np.asarray(labels) - 1 / (1 + np.exp(-hidden @ outputs[rows].T)))
    change = np.broadcast_to(errors @ outputs[rows], (len(around), DIM))
    to_inputs, to_outputs = np.zeros_like(inputs), np.zeros_like(outputs)
    for token, moved in zip(around, change, strict=True):
        np.add.at(to_inputs, own(token), moved)
    np.add.at(to_outputs, rows, errors.T @ hidden)
    return inputs + to_inputs, outputs + to_outputs


def tables():
    rng = np.random.default_rng(0)
    return [rng.normal(scale=0.5, size=(rows, DIM)) for rows in (8, 5)]


def moved(plan, given):
    found = [table.astype(np.float32) for table in given]
    compiled(DIM)(kernels.Slice(SEQUENCE, np.array([0, len(SEQUENCE)]), 1, 0, 0), plan, PARTS, *found)
    return found


@pytest.mark.parametrize(("architecture", "loss"), KINDS)
def test_a_centre_moves_every_part_of_its_contexts(architecture, loss):
    plan, expected = plan_of(architecture, loss, RATE), tables()
    found = moved(plan, expected)
    for at in range(len(SEQUENCE)):
        expected = step(plan, *expected, at)
    # The sigmoid is off by .0005 at most.
    assert_allclose(found[0], expected[0], atol=8e-3)
    assert_allclose(found[1], expected[1], atol=8e-3)


def log_loss(plan, start, inputs, outputs):
    """−log likelihood of the sequence. Parts count whole in how a token moves, though it is their mean: `start` is
    the table of inputs from which they move."""
    total = 0.0
    for at in range(len(SEQUENCE)):
        around, rows, labels = example(plan, at)
        hidden = np.stack([start[own(t)].mean(axis=0) + (inputs - start)[own(t)].sum(axis=0) for t in around])
        if plan.cbow:  # So do contexts.
            fixed = np.stack([start[own(t)].mean(axis=0) for t in around])
            hidden = (fixed.mean(axis=0) + (hidden - fixed).sum(axis=0))[None]
        signs = 2 * np.asarray(labels) - 1
        total += np.log1p(np.exp(-signs * (hidden @ outputs[rows].T))).sum()
    return total


@pytest.mark.parametrize(("architecture", "loss"), KINDS)
def test_a_small_step_is_the_gradient_by_finite_differences(architecture, loss):
    rate, nudge, start = 1e-3, 1e-5, tables()
    plan = plan_of(architecture, loss, rate)
    # Later centres start where earlier ones moved to; of a step forth and one back, that cancels.
    forth, back = moved(plan, start), moved(plan_of(architecture, loss, -rate), start)
    steps = [(one.astype(np.float64) - two) / (2 * rate) for one, two in zip(forth, back, strict=True)]
    for which, found in enumerate(steps):
        slope = np.zeros_like(start[which])
        for place in np.ndindex(slope.shape):
            sides = []
            for change in (nudge, -nudge):
                changed = [table.copy() for table in start]
                changed[which][place] += change
                sides.append(log_loss(plan, start[0], *changed))
            slope[place] = (sides[0] - sides[1]) / (2 * nudge)
        assert np.abs(slope).max() > 0.3
        # The sigmoid is off by .0005 at most, at each of some twenty steps.
        assert_allclose(found, -slope, atol=5e-3)


def corpus(sequences):
    lengths = [len(sequence) for sequence in sequences]
    return MemoryCorpus(np.concatenate(sequences).astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]))


def trained(parts, **options):
    """Six tokens of two topics, and a seventh that stands in one sequence alone."""
    rng = np.random.default_rng(0)
    sequences = [3 * (n % 2) + rng.integers(0, 3, 8) for n in range(300)]
    given = {"embedding_dim": DIM, "epochs": 10, "learning_rate": 0.05, "device": "cpu", **options}
    return train_word2vec(corpus([*sequences, [6, 0]]), 7, Word2VecSettings(**given), seed=1, parts=parts).vectors


WORDS = ["river", "tree", "stone", "carbon", "engine", "wheel", "engines"]


def cosine(one, two):
    return one @ two / (np.linalg.norm(one) * np.linalg.norm(two))


@pytest.mark.parametrize(("architecture", "loss"), KINDS)
def test_words_of_a_topic_come_together(architecture, loss):
    parts = character_ngrams(WORDS, shortest=3, longest=6)
    vectors = trained(parts, architecture=architecture, loss=loss)
    assert cosine(vectors[3], vectors[4]) > cosine(vectors[3], vectors[0]) + 0.3


def test_a_word_too_rare_to_be_trained_is_what_its_parts_say():
    parts = character_ngrams(WORDS, shortest=3, longest=6)
    vectors = trained(parts, min_count=5)
    assert cosine(vectors[6], vectors[4]) > 0.9
    alone = character_ngrams([*WORDS[:6], None], shortest=3, longest=6)
    assert not trained(alone, min_count=5)[6].any()


def test_the_same_seed_gives_the_same_bytes():
    parts = character_ngrams(WORDS, shortest=3, longest=6)
    assert trained(parts).tobytes() == trained(parts).tobytes()
    assert np.isfinite(trained(parts, threads=2)).all()
