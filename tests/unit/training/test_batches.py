"""Batches sliced from arrays in memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import DataError
from recsys.training.batches import Samples, as_tensors


def numbered(groups=7, candidates=3, batch_size=3):
    """Every value of group g says g."""
    rows = np.arange(groups)
    inputs = {
        "user.group": rows,
        "item.genres": np.broadcast_to(rows[:, None, None], (groups, candidates, 2)).copy(),
        "item.year": np.broadcast_to(rows[:, None], (groups, candidates)).astype(np.float32),
    }
    labels = inputs["item.year"] * 1
    return Samples(inputs, labels, np.ones((groups, candidates), dtype=bool), batch_size)


@settings(max_examples=30, deadline=None)
@given(groups=st.integers(1, 20), candidates=st.integers(1, 4), batch_size=st.integers(1, 25))
def test_an_epoch_is_every_group_once_with_its_own_inputs(groups, candidates, batch_size):
    samples = numbered(groups, candidates, batch_size)
    batches = list(samples.epoch(np.random.default_rng(0)))
    assert len(batches) == len(samples)
    assert all(len(batch.labels) == batch_size for batch in batches[:-1])
    seen = [int(group) for batch in batches for group in batch.inputs["user.group"]]
    assert sorted(seen) == list(range(groups))
    for batch in batches:
        group = batch.inputs["user.group"]
        assert (batch.inputs["item.genres"] == group[:, None, None]).all()
        assert (batch.labels == group[:, None]).all()
        assert batch.mask.dtype == torch.bool


def test_order_is_drawn_from_the_generator():
    def order(rng):
        return torch.cat([batch.inputs["user.group"] for batch in numbered(50).epoch(rng)]).tolist()

    assert order(np.random.default_rng(1)) == order(np.random.default_rng(1))
    assert order(np.random.default_rng(1)) != order(np.random.default_rng(2))
    rng = np.random.default_rng(1)
    assert order(rng) != order(rng), "epochs differ"


def test_in_order_keeps_the_order():
    found = torch.cat([batch.inputs["user.group"] for batch in numbered().in_order()])
    assert found.tolist() == list(range(7))


def test_memory_mapped_inputs_are_sliced_without_a_warning(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5, dtype=np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    labels = np.ones((5, 1), dtype=np.float32)
    samples = Samples({"user.age": mapped}, labels, labels > 0, 2)
    assert torch.cat([batch.inputs["user.age"] for batch in samples.in_order()]).tolist() == [0, 1, 2, 3, 4]
    assert as_tensors({"user.age": mapped})["user.age"].tolist() == [0, 1, 2, 3, 4]


def test_tensors_share_writable_memory():
    values = np.zeros(3, dtype=np.float32)
    tensors = as_tensors({"x": values})
    values[1] = 5
    assert tensors["x"].tolist() == [0, 5, 0]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (2, 3)])
def test_nothing_labelled_says_where_to_look(shape):
    expected = r"^no labelled candidate to train on; check the windows of the split and data\.positive$"
    with pytest.raises(DataError, match=expected):
        Samples({}, np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool), 2)


def test_a_batch_goes_to_a_device_as_a_whole():
    batch = next(numbered().in_order()).to(torch.device("meta"))
    assert {values.device.type for values in (*batch.inputs.values(), batch.labels, batch.mask)} == {"meta"}


def histories(pool, lengths, *, size=4, width=9):
    real = np.arange(width) < np.array(lengths)[:, None]
    group = np.arange(len(lengths))
    inputs = {
        "history.id": np.where(real, group[:, None] + 1, 0),
        "history.tags": np.zeros((len(lengths), width, 3), dtype=np.int64),
        "history.mask": real.astype(np.float32),
        "user.group": group,
    }
    labels = np.ones((len(lengths), 1), dtype=np.float32)
    return Samples(inputs, labels, labels > 0, size, pool=pool)


@pytest.mark.parametrize("pool", [1, 3, 100])
def test_every_group_comes_once_with_its_whole_history(pool):
    lengths = np.random.default_rng(0).integers(0, 10, 50)
    seen = []
    for batch in histories(pool, lengths).epoch(np.random.default_rng(1)):
        length = max(int(lengths[batch.inputs["user.group"].numpy()].max()), 1)
        assert batch.inputs["history.id"].shape[1] == batch.inputs["history.mask"].shape[1] == length
        assert batch.inputs["history.tags"].shape[1:] == (length, 3)
        for group, past in zip(batch.inputs["user.group"].tolist(), batch.inputs["history.id"].tolist(), strict=True):
            assert [value for value in past if value] == [group + 1] * lengths[group]
        seen += batch.inputs["user.group"].tolist()
    assert sorted(seen) == list(range(50))
    assert seen != list(range(50))


def test_sorting_by_length_leaves_little_padding():
    lengths = np.random.default_rng(0).geometric(0.2, 4000).clip(0, 40)

    def padded(pool):
        masks = [
            b.inputs["history.mask"]
            for b in histories(pool, lengths, size=50, width=40).epoch(np.random.default_rng(1))
        ]
        return 1 - sum(float(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    assert padded(1) > 0.7
    assert padded(8) < 0.4


def test_batches_of_one_length_come_in_any_order():
    lengths = np.repeat(np.arange(1, 9), 10)
    orders = [
        [batch.inputs["history.mask"].shape[1] for batch in histories(20, lengths).epoch(np.random.default_rng(seed))]
        for seed in (0, 1)
    ]
    assert orders[0] != sorted(orders[0])
    assert orders[0] != orders[1]


def test_an_epoch_of_empty_histories_keeps_one_place():
    batches = list(histories(8, [0, 0, 0]).epoch(np.random.default_rng(0)))
    assert [batch.inputs["history.mask"].tolist() for batch in batches] == [[[0.0]] * 3]
