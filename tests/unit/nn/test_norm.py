"""Standardisation against numpy and torch."""

import typing

import numpy as np
import pytest
import torch

from recsys.nn.norm import NORMS, BatchStandardise, InputStandardise, Moments
from recsys.ranking.settings.base import Norm


def fitted(rows, batches=3):
    found = InputStandardise(rows.shape[1])
    found.fit(moments(rows, batches))
    return found


def moments(rows, batches=1):
    found = Moments()
    for part in np.array_split(rows, batches):
        found.add(torch.from_numpy(part))
    return found


def test_standardises_as_numpy_does_however_the_rows_are_cut():
    rows = np.random.default_rng(0).normal([3.0, -50.0], [0.1, 20.0], (200, 2)).astype(np.float32)
    expected = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    for batches in (1, 7):
        found = fitted(rows, batches)(torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_large_numbers_of_little_spread_keep_it():
    rows = (1.7e9 + np.arange(1000) * 128).astype(np.float32)[:, None]  # seconds; exact in float32
    found = fitted(rows)(torch.from_numpy(rows))
    assert float(found.std(correction=0)) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, -1234.5])
def test_a_constant_number_becomes_zero_whatever_comes_later(value):
    found = fitted(np.full((10, 1), value, dtype=np.float32))
    assert found(torch.tensor([[value], [value + 100]])).tolist() == [[0.0], [0.0]]


def test_an_outlier_is_clipped():
    found = fitted(np.array([[-1.0], [1.0]], dtype=np.float32))
    assert found(torch.tensor([[1e9], [-1e9], [0.5]])).tolist() == [[10.0], [-10.0], [0.5]]


def test_fitted_twice_forgets_the_first():
    rows = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    found = fitted(rows * 100 + 7)
    found.fit(moments(rows))
    assert torch.equal(found.mean, fitted(rows, 1).mean)
    assert torch.equal(found.scale, fitted(rows, 1).scale)


def test_without_rows_it_only_clips():
    found = InputStandardise(1)
    found.fit(Moments())
    assert found(torch.tensor([[3.0], [50.0]])).tolist() == [[3.0], [10.0]]


def test_batch_statistics_equal_torch():
    x = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    ours, theirs = BatchStandardise(4), torch.nn.BatchNorm1d(4, affine=False)
    for _ in range(3):
        found, expected = ours(x), theirs(x.flatten(0, 1)).unflatten(0, (6, 5))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    # torch keeps the unbiased variance, n / (n − 1) of ours.
    gap = (theirs.running_var - 0.9**3) * 29 / 30 + 0.9**3
    torch.testing.assert_close(ours.running_variance, gap)
    ours.eval()
    expected = (x - ours.running_mean) / (ours.running_variance + 1e-5).sqrt()
    torch.testing.assert_close(ours(x), expected)


def test_masked_positions_are_left_out_of_the_statistics():
    x = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(6).expand(4, -1) < torch.tensor([[6], [2], [0], [4]])
    ours, alone = BatchStandardise(3), BatchStandardise(3)
    found = ours(torch.where(mask.unsqueeze(-1), x, 1e6), mask)
    torch.testing.assert_close(found[mask], alone(x[mask]))
    torch.testing.assert_close(ours.running_mean, alone.running_mean)
    torch.testing.assert_close(ours.running_variance, alone.running_variance)


@pytest.mark.parametrize("real", [0, 1])
def test_fewer_than_two_rows_leave_the_statistics_alone(real):
    found = BatchStandardise(2)
    x, mask = torch.full((1, 3, 2), 9.0), (torch.arange(3) < real).unsqueeze(0)
    assert torch.isfinite(found(x, mask)).all()
    assert found.running_mean.tolist() == [0, 0]
    assert found.running_variance.tolist() == [1, 1]


def test_there_is_one_for_every_name_of_the_settings():
    assert set(NORMS) == set(typing.get_args(Norm))


@pytest.mark.parametrize("name", ["none", "layer"])
def test_norms_of_single_positions_ignore_the_mask(name):
    x = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1))
    found = NORMS[name](3)(x, torch.zeros(4, 6, dtype=torch.bool))
    torch.testing.assert_close(found, x if name == "none" else torch.nn.functional.layer_norm(x, (3,)))
