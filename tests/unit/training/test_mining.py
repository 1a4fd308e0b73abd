"""Negatives that are mined for every epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recsys.losses.pointwise import bce
from recsys.training.batches import Samples, joined
from recsys.training.config import TrainingConfig
from recsys.training.mining import HardNegatives, hardest
from recsys.training.trainer import predict, seeded, train

Q, C, COUNT = 24, 8, 2


@st.composite
def groups(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 6)))
    # Few different scores: ties are common.
    return rng.integers(0, 4, shape).astype(np.float32), *(rng.random((3, *shape)) < [[[0.3]], [[0.8]], [[0.2]]])


@settings(max_examples=150, deadline=None)
@given(groups(), st.integers(1, 5))
def test_those_that_teach_are_the_positives_the_hardest_and_the_unmined(given_, count):
    scores, positive, mask, unmined = given_
    unmined &= mask & ~positive
    places = hardest(scores, positive.astype(np.float32), mask, unmined, count)
    for row, found in enumerate(places):
        free = [c for c in range(scores.shape[1]) if mask[row, c] and not positive[row, c] and not unmined[row, c]]
        hard = sorted(free, key=lambda c: (-scores[row, c], c))[:count]
        steady = np.flatnonzero(mask[row] & (positive[row] | unmined[row])).tolist()
        assert found[found >= 0].tolist() == sorted([*steady, *hard])


class Table(nn.Module):
    """A score for every candidate of every group, and dropout that must be off while it is asked."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Embedding(Q * C, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs, mask=None):
        return self.dropout(self.scores(inputs["item.place"])).squeeze(-1)


def samples():
    rng = np.random.default_rng(0)
    labels = np.zeros((Q, C), dtype=np.float32)
    labels[:, 0] = 1
    mask = rng.random((Q, C)) < 0.9
    mask[:, 0] = True
    unmined = np.zeros((Q, C), dtype=bool)
    unmined[:, -1] = True
    tags = rng.integers(0, 9, (Q, C, 3))
    inputs = {"item.place": np.arange(Q * C).reshape(Q, C), "item.tags": tags, "user.age": rng.normal(size=Q)}
    weight, offset = rng.random((2, Q, C)).astype(np.float32)
    return Samples(inputs, labels, mask, 5, weight, offset=offset, unmined=unmined)


def test_every_epoch_teaches_what_the_model_then_scores_highest():
    given_, seen, wanted = samples(), [], []
    with seeded(0):
        model = Table()

    class Watched(HardNegatives):
        """What the epochs hold, beside what the model said when they began."""

        def epoch(self, rng):
            scores = predict(model.eval(), given_)
            model.train()
            free = given_.mask & (given_.labels == 0) & ~given_.unmined
            order = np.argsort(-np.where(free, scores, -np.inf), axis=1)[:, :COUNT]
            steady = given_.mask & ~free
            hard = [[int(c) for c in order[row] if free[row, c]] for row in range(Q)]
            wanted.append([sorted([*np.flatnonzero(steady[row]).tolist(), *hard[row]]) for row in range(Q)])
            batches = list(super().epoch(rng))
            seen.append(batches)
            assert model.training
            return iter(batches)

    config = TrainingConfig.model_validate({"epochs": 3, "patience": 0, "optimiser": {"learning_rate": 0.5}})
    train(model, bce, Watched(given_, model, COUNT), config, seed=0, log=lambda *_: None)
    for batches, expected in zip(seen, wanted, strict=True):
        found = {}
        for batch in batches:
            for places, mask in zip(batch.inputs["item.place"].numpy(), batch.mask.numpy(), strict=True):
                real = places[mask]
                found[int(real[0]) // C] = sorted((real % C).tolist())
        assert [found[group] for group in range(Q)] == expected
    # What was hard is learned, and other negatives are hard then.
    assert wanted[0] != wanted[1] != wanted[2]


def test_a_candidate_keeps_its_label_weight_offset_and_inputs():
    given_ = samples()
    places = hardest(np.zeros((Q, C), np.float32), given_.labels, given_.mask, given_.unmined, COUNT)
    some, real = given_.columns(places), places >= 0
    rows = np.nonzero(real)[0]
    for own, whole in (
        (some.labels, given_.labels),
        (some.weight, given_.weight),
        (some.offset, given_.offset),
        (some.unmined, given_.unmined),
        (some.inputs["item.tags"], given_.inputs["item.tags"]),
    ):
        np.testing.assert_array_equal(own[real], whole[rows, places[real]])
    np.testing.assert_array_equal(some.inputs["user.age"], given_.inputs["user.age"])
    np.testing.assert_array_equal(some.mask, real)


def test_joined_groups_keep_what_is_not_mined():
    plain = Samples(samples().inputs, samples().labels, samples().mask, 5)
    both = joined(samples(), plain)
    assert both.unmined.dtype == bool
    np.testing.assert_array_equal(both.unmined, np.concatenate([samples().unmined, np.zeros((Q, C), bool)]))


def test_an_epoch_that_was_begun_is_not_mined_again():
    with seeded(0):
        model = Table()
    source = HardNegatives(samples(), model, COUNT)
    assert source.state() == {}
    first = list(source.epoch(np.random.default_rng(0)))
    kept = source.state()
    with torch.no_grad():
        model.scores.weight.neg_()
    other = HardNegatives(samples(), model, COUNT)
    other.restore(kept)
    again, anew = (list(other.epoch(np.random.default_rng(0))) for _ in range(2))
    places = [torch.cat([b.inputs["item.place"].flatten() for b in batches]) for batches in (first, again, anew)]
    assert torch.equal(places[0], places[1])
    assert places[0].shape == places[2].shape
    assert not torch.equal(places[0], places[2])
    assert len(source) == len(first) == pytest.approx(-(-Q // 5))
