"""Weights that undo what positions do."""

import numpy as np
import pytest
import torch

from recsys.losses.pointwise import bce
from recsys.losses.propensity import inverse_propensity


def test_weights_are_one_over_the_chance_and_bounded():
    found = inverse_propensity(torch.tensor([[1.0, 0.25, 0.001, 0.0, float("nan")]]), clip=0.1)
    assert found[0].tolist() == pytest.approx([1.0, 1 / 0.25, 1 / 0.1, 1 / 0.1, 1.0])


@pytest.mark.parametrize("clip", [0.0, -1.0, 1.5])
def test_a_clip_out_of_range_is_refused(clip):
    with pytest.raises(ValueError, match=rf"^clip: found {clip:g}, expected more than 0 and at most 1$"):
        inverse_propensity(torch.ones(1, 1), clip=clip)


@pytest.mark.parametrize("wrong", [-0.5, 1.5, float("inf")])
def test_a_propensity_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=rf"^propensity: found {wrong:g}, expected chances from 0 to 1$"):
        inverse_propensity(torch.tensor([[0.5, wrong]]))


def test_the_weighted_loss_of_clicks_is_unbiased():
    """Mean over what is looked at, of losses of clicks, is the loss as if all had been looked at."""
    rng = np.random.default_rng(0)
    propensity, relevant = 1 / np.arange(1, 9), rng.random((40_000, 8)) < 0.3
    clicks = (rng.random(relevant.shape) < propensity) & relevant
    scores = torch.from_numpy(rng.normal(size=8)).expand(len(clicks), -1)
    weight = inverse_propensity(torch.from_numpy(propensity).expand(len(clicks), -1))
    positive = torch.ones_like(scores)
    seen = bce(scores, positive, mask=torch.from_numpy(clicks), weight=weight, reduction="none").sum(0)
    full = bce(scores, positive, mask=torch.from_numpy(relevant), reduction="none").sum(0)
    np.testing.assert_allclose(seen.numpy(), full.numpy(), rtol=0.06)
    naive = bce(scores, positive, mask=torch.from_numpy(clicks), reduction="none").sum(0)
    assert float(naive[7] / full[7]) == pytest.approx(1 / 8, rel=0.1), "without weights the last position is an eighth"
