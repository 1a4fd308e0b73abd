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
