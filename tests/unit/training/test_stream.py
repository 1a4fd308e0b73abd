"""Batches from files that are larger than memory."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from recsys.errors import DataError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec
from recsys.losses.pointwise import bce
from recsys.nn.embedding import EmbeddingCollection
from recsys.ranking.base import Ranker
from recsys.training.batches import Part, Samples, joined
from recsys.training.config import TrainingConfig
from recsys.training.group_files import GroupColumns, groups_table, write_groups
from recsys.training.stream import Stream
from recsys.training.trainer import predict, seeded, train

ROW = Field("user.row", 2**31, 1, "row")
ITEM, PRICE = Field("item.id", 50, 1, "i"), Field("item.price", 0, 1, "")
SPEC = InputSpec((ROW, Field("history.id", 50, 1, "i"), HISTORY_MASK, ITEM, PRICE), 6)
COLUMNS = GroupColumns(SPEC, mask="mask")


def samples_of(count, *, candidates=3, batch_size=8, pool=1, seed=0):
    """Labels are drawn with the probability σ(3x) of the price x."""
    rng = np.random.default_rng(seed)
    real = np.arange(6) < rng.integers(0, 7, count)[:, None]
    price = rng.normal(1, 2, (count, candidates)).astype(np.float32)
    inputs = {
        "user.row": np.arange(count),
        "history.id": rng.integers(1, 50, (count, 6)) * real,
        "history.mask": real.astype(np.float32),
        "item.id": rng.integers(0, 50, (count, candidates)),
        "item.price": price,
    }
    labels = (rng.random(price.shape) < 1 / (1 + np.exp(-3 * price))).astype(np.float32)
    mask = rng.random(labels.shape) < 0.8
    mask[0, 0] = True
    return Samples(inputs, labels, mask, batch_size, None, pool)


def stream_of(samples, folder, *, a_group, buffer_rows, files=1):
    """The samples as files, and a stream of them."""
    count, paths = len(samples.labels), []
    for number, rows in enumerate(np.array_split(np.arange(count), files)):
        table = groups_table(part(samples, rows), COLUMNS)
        paths.append(folder / f"{number}.parquet")
        write_groups(paths[-1], [table.slice(start, a_group) for start in range(0, len(rows), a_group)])
    buffer = buffer_rows * COLUMNS.row_bytes(samples.labels.shape[1])
    return Stream(paths, COLUMNS, samples.batch_size, buffer=buffer, pool=samples.pool)


def part(samples, rows):
    inputs = {name: values[rows] for name, values in samples.inputs.items()}
    return Part(inputs, samples.labels[rows], samples.mask[rows], samples.batch_size)


def order(batches):
    return [row for batch in batches for row in batch.inputs["user.row"].tolist()]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        for name, values in other.inputs.items():
            assert torch.equal(one.inputs[name], values), name
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.mask, other.mask)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 60),
    a_group=st.integers(1, 20),
    files=st.integers(1, 2),
    batch_size=st.integers(1, 70),
    more=st.integers(0, 30),
    pool=st.integers(1, 3),
)
def test_an_epoch_is_every_group_once_with_its_own_inputs(tmp_path, count, a_group, files, batch_size, more, pool):
    samples = samples_of(count, batch_size=batch_size, pool=pool)
    stream = stream_of(samples, tmp_path, a_group=a_group, buffer_rows=a_group + more, files=min(files, count))
    batches = list(stream.epoch(np.random.default_rng(0)))
    assert len(batches) == len(stream) == len(samples)
    assert sorted(len(batch.labels) for batch in batches)[1:] == [batch_size] * (len(batches) - 1)
    assert sorted(order(batches)) == list(range(count))
    for batch in batches:
        rows = batch.inputs["user.row"].numpy()
        assert_same([batch], part(samples, rows).in_order())
    assert_same(stream.in_order(), samples.in_order())


@pytest.mark.parametrize("pool", [1, 3])
def test_a_buffer_that_holds_everything_gives_the_batches_of_samples(tmp_path, pool):
    samples = samples_of(100, pool=pool)
    stream = stream_of(samples, tmp_path, a_group=9, buffer_rows=100)
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(2):
        assert_same(stream.epoch(one), samples.epoch(other))


def test_order_is_drawn_from_the_generator(tmp_path):
    stream = stream_of(samples_of(100), tmp_path, a_group=7, buffer_rows=20)
    first, second = (order(stream.epoch(np.random.default_rng(seed))) for seed in (1, 2))
    assert order(stream.epoch(np.random.default_rng(1))) == first != second
    rng = np.random.default_rng(1)
    assert order(stream.epoch(rng)) != order(stream.epoch(rng)), "epochs differ"


def simulated(count, a_group, size, batch_size, seed):
    """The order in which a list of rows is emptied at random and filled by groups of rows."""
    rng = random.Random(seed)
    groups = [list(range(start, min(start + a_group, count))) for start in range(0, count, a_group)]
    rng.shuffle(groups)
    held, out = [], []
    for group in groups:
        while size - len(held) < len(group):
            out += [held.pop(rng.randrange(len(held))) for _ in range(batch_size)]
        held += group
    rng.shuffle(held)
    return out + held


@pytest.mark.parametrize("buffer_rows", [300, 1000])
def test_rows_are_as_well_mixed_as_the_buffer_allows(tmp_path, buffer_rows):
    count, a_group = 4000, 100
    stream = stream_of(samples_of(count), tmp_path, a_group=a_group, buffer_rows=buffer_rows)
    found = [order(stream.epoch(np.random.default_rng(seed))) for seed in range(8)]
    expected = [simulated(count, a_group, buffer_rows, 8, seed) for seed in range(8)]

    def neighbours(orders):
        """Share of rows that follow a row of their own group; evenly shuffled: 1 / 40."""
        return np.mean([np.diff(np.array(one) // a_group) == 0 for one in orders])

    def travelled(orders):
        """How far apart, on average, two rows end up that were neighbours in the file; evenly shuffled: a third."""
        return np.mean([np.abs(np.diff(np.argsort(one))).mean() for one in orders]) / count

    # In file order the first would be 0.99 and the second 1 / 4000.
    assert neighbours(found) == pytest.approx(neighbours(expected), rel=0.1)
    assert travelled(found) == pytest.approx(travelled(expected), rel=0.1)
    assert neighbours(found) < 2.5 * a_group / buffer_rows
    # 40 groups in a drawn order: of no order, the correlation with the file's has a deviation of 1 / sqrt(39).
    correlation = np.mean([np.corrcoef(one, np.arange(count))[0, 1] for one in found])
    assert abs(correlation) < 3 / np.sqrt(39 * 8)


def test_histories_of_like_length_come_together(tmp_path):
    def padded(pool):
        stream = stream_of(samples_of(2000, pool=pool), tmp_path, a_group=100, buffer_rows=500)
        masks = [batch.inputs["history.mask"] for batch in stream.epoch(np.random.default_rng(0))]
        return 1 - sum(float(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    assert padded(1) > 0.4
    assert padded(8) < 0.15


def test_files_of_other_widths_are_joined_as_samples_are(tmp_path):
    parts = [samples_of(10, candidates=2), samples_of(7, candidates=4, seed=1)]
    for number, samples in enumerate(parts):
        write_groups(tmp_path / f"{number}.parquet", [groups_table(samples, COLUMNS)])
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for buffer in (10 * COLUMNS.row_bytes(4), 1 << 20):
        assert_same(Stream(paths, COLUMNS, 8, buffer=buffer).in_order(), joined(*parts).in_order())


@pytest.mark.parametrize("buffer_rows", [20, 1000])
def test_a_ranker_takes_from_a_stream_what_it_takes_from_samples(tmp_path, buffer_rows):
    samples = samples_of(200)
    stream = stream_of(samples, tmp_path, a_group=11, buffer_rows=buffer_rows)
    one, other = Ranker(InputSpec((ITEM, PRICE), 1), 4, 0.0), Ranker(InputSpec((ITEM, PRICE), 1), 4, 0.0)
    one.fit_inputs(stream)
    other.fit_inputs(samples)
    for found, expected in ((one.bias, other.bias), (one.inputs.standardise_candidate.mean, torch.tensor([1.0]))):
        torch.testing.assert_close(found, expected, atol=0.3, rtol=0)
    torch.testing.assert_close(one.inputs.standardise_candidate.scale, other.inputs.standardise_candidate.scale)
    torch.testing.assert_close(one.bias, other.bias)


class Model(nn.Module):
    """A line through the price, a bias an item, and dropout."""

    def __init__(self):
        super().__init__()
        self.line, self.dropout = nn.Linear(1, 1), nn.Dropout(0.2)
        self.table = EmbeddingCollection([ITEM], 1)

    def forward(self, inputs, mask=None):
        return self.line(self.dropout(inputs["item.price"].unsqueeze(-1))) + self.table(inputs, [ITEM]).squeeze(-1)


def run(folder, checkpoints, *, die_at=0):
    """Trains three epochs of 25 batches; dies for good before a step. Gives the weights' hash, and steps here."""
    samples = samples_of(200)
    stream = stream_of(samples, folder, a_group=11, buffer_rows=40, files=2)
    steps = []

    def loss(scores, labels, *, mask=None):
        steps.append(1)
        if len(steps) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return bce(scores, labels, mask=mask)

    config = TrainingConfig.model_validate({"epochs": 3, "checkpoint_minutes": 0})
    with seeded(7):
        model = Model()
    train(model, loss, stream, config, seed=3, log=lambda *_: None, checkpoints=checkpoints)
    np.testing.assert_allclose(predict(model, stream), predict(model, samples), rtol=1e-5, atol=1e-5)
    weights = b"".join(values.numpy().tobytes() for values in model.state_dict().values())
    return hashlib.sha256(weights).hexdigest(), len(steps)


def elsewhere(code):
    command = [sys.executable, "-c", f"import pathlib, test_stream; {code}"]
    # The package of this checkout, not an installed one.
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, cwd=Path(__file__).parent, env=here, capture_output=True, text=True, check=False)


def test_a_run_killed_within_an_epoch_ends_at_the_same_weights(tmp_path):
    die_at = 30
    (tmp_path / "kept").mkdir()
    here, kept = (f"pathlib.Path({str(path)!r})" for path in (tmp_path, tmp_path / "kept"))
    killed = elsewhere(f"test_stream.run({here}, {kept}, die_at={die_at})")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    weights, steps = run(tmp_path, tmp_path / "kept")
    assert steps == 3 * 25 - (die_at - 1)
    assert (weights, 75) == run(tmp_path, None)


def peak(path):
    """Megabytes by which the first batch raises the largest resident set, and by which the rest of two passes does."""

    def largest():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    spec = InputSpec(tuple(Field(f"item.x{n}", 0, 1, "") for n in range(20)), 1)
    stream = Stream([path] * 8, GroupColumns(spec), 4096, buffer=16 << 20)
    before = largest()
    batches = stream.epoch(np.random.default_rng(0))
    next(batches)
    first = largest()
    rows = 4096 + sum(len(batch.labels) for batch in batches) + sum(len(batch.labels) for batch in stream.in_order())
    print(rows, first - before, largest() - first)


def test_memory_is_that_of_the_buffer_however_large_the_files(tmp_path):
    path, rng = tmp_path / "log.parquet", np.random.default_rng(0)

    def table():
        numbers = rng.random((20, 20_000), dtype=np.float32)
        return pa.table({**{f"item.x{n}": values for n, values in enumerate(numbers)}, "label": numbers[0]})

    write_groups(path, (table() for _ in range(20)))
    rows, first, later = elsewhere(f"test_stream.peak(pathlib.Path({str(path)!r}))").stdout.split()
    assert int(rows) == 2 * 8 * 400_000
    # All rows are 259 MB as arrays. The buffer is 16, a group of rows 1.6; torch takes the rest when it is first used.
    assert float(first) < 150
    assert float(later) < 24


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "recsys-read-ahead"]


def test_who_loses_interest_leaves_no_thread_behind(tmp_path):
    stream = stream_of(samples_of(100), tmp_path, a_group=7, buffer_rows=20)
    for batches in (stream.epoch(np.random.default_rng(0)), stream.in_order()):
        next(batches)
        batches.close()
        assert not readers()


def test_a_crash_leaves_no_thread_behind(tmp_path):
    stream = stream_of(samples_of(100), tmp_path, a_group=7, buffer_rows=20)
    left = []

    def loss(scores, labels, *, mask=None):
        left.append(1)
        if len(left) == 3:
            raise ZeroDivisionError
        return bce(scores, labels, mask=mask)

    with pytest.raises(ZeroDivisionError):
        train(Model(), loss, stream, TrainingConfig(epochs=1), seed=0, log=lambda *_: None)
    # A read that had begun ends by itself, though the traceback still holds the batches.
    for thread in readers():
        thread.join(10)
    assert not readers()


def test_a_file_that_is_damaged_meanwhile_is_named(tmp_path):
    stream = stream_of(samples_of(100), tmp_path, a_group=7, buffer_rows=20)
    (tmp_path / "0.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"0\.parquet: row group \d+ cannot be read"):
        list(stream.epoch(np.random.default_rng(0)))
    assert not readers()


def test_the_second_file_may_not_be_of_another_kind(tmp_path):
    write_groups(tmp_path / "0.parquet", [groups_table(samples_of(5), COLUMNS)])
    table = groups_table(samples_of(5), COLUMNS).drop_columns(["item.price"])
    pq.write_table(table, tmp_path / "1.parquet")
    with pytest.raises(DataError, match=r"1\.parquet: found no column item\.price"):
        Stream([tmp_path / "0.parquet", tmp_path / "1.parquet"], COLUMNS, 8)


def test_nothing_to_read_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"^no files: found no rows, expected groups to train on$"):
        Stream([], COLUMNS, 8)
    pq.write_table(groups_table(samples_of(5), COLUMNS).slice(0, 0), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"log\.parquet: found no rows"):
        Stream([tmp_path / "log.parquet"], COLUMNS, 8)


def test_groups_of_rows_larger_than_the_buffer_are_refused(tmp_path):
    expected = (
        r"0\.parquet: row group 0 has 50 rows, 0\.0 MB as model inputs, expected at most the buffer's 0\.0 MB; write "
        "the file with a smaller row_group_size, or give a larger buffer"
    )
    with pytest.raises(DataError, match=expected):
        stream_of(samples_of(100), tmp_path, a_group=50, buffer_rows=49)


def test_groups_of_which_none_is_labelled_are_refused_by_the_ranker(tmp_path):
    samples = samples_of(20)
    table = groups_table(samples, COLUMNS)
    nothing = pa.FixedSizeListArray.from_arrays(pa.array([False] * 60), 3)
    table = table.set_column(table.schema.get_field_index("mask"), "mask", nothing)
    write_groups(tmp_path / "log.parquet", [table.slice(0, 10), table.slice(10)])
    stream = Stream([tmp_path / "log.parquet"], COLUMNS, 4, buffer=12 * COLUMNS.row_bytes(3))
    assert len(list(stream.epoch(np.random.default_rng(0)))) == 5
    with pytest.raises(DataError, match="no labelled candidate to train on; check the mask"):
        Ranker(InputSpec((ITEM, PRICE), 1), 4, 0.0).fit_inputs(stream)
