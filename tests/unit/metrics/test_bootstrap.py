import numpy as np
import pytest
from scipy import stats

from recsys.metrics import bootstrap
from recsys.metrics.bootstrap import Interval, interval, intervals, paired


def rng():
    return np.random.default_rng(3)


VALUES = rng().beta(1, 4, size=300)


def test_interval_agrees_with_scipy():
    ours = interval(VALUES, rng(), resamples=4000)
    theirs = stats.bootstrap((VALUES,), np.mean, n_resamples=4000, method="percentile", rng=rng()).confidence_interval
    assert ours.mean == VALUES.mean()
    width = theirs.high - theirs.low
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.05 * width)


def test_interval_is_as_wide_as_the_normal_one_when_there_are_many_requests():
    ours = interval(VALUES, rng(), resamples=4000, level=0.9)
    half = stats.norm.ppf(0.95) * VALUES.std() / len(VALUES) ** 0.5
    assert [ours.low, ours.high] == pytest.approx([ours.mean - half, ours.mean + half], abs=0.1 * half)


def test_the_same_state_gives_the_same_interval(monkeypatch):
    whole = interval(VALUES, rng(), resamples=100)
    assert interval(VALUES, rng(), resamples=100) == whole
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * len(VALUES))
    blocks = interval(VALUES, rng(), resamples=100)
    assert [blocks.low, blocks.high] == pytest.approx([whole.low, whole.high]), "drawing in blocks changes nothing"


def test_columns_share_their_draws():
    together = intervals(np.stack([VALUES, 1 - VALUES], axis=1), rng(), resamples=100)
    alone = interval(VALUES, rng(), resamples=100)
    assert [together[0].low, together[0].high] == pytest.approx([alone.low, alone.high])
    assert [together[1].low, together[1].high] == pytest.approx([1 - alone.high, 1 - alone.low])


def test_paired_sees_a_small_difference_that_two_intervals_hide():
    hard = rng().uniform(size=200)
    better, worse = hard + 0.01, hard
    alone = [interval(better, rng()), interval(worse, rng())]
    assert alone[0].low < alone[1].high
    together = paired(better, worse, rng())
    assert together.mean == pytest.approx(0.01)
    assert together.excludes_zero


def test_paired_turns_with_its_arguments():
    a, b = VALUES[:150], VALUES[150:]
    there, back = paired(a, b, rng()), paired(b, a, rng())
    assert [there.mean, there.low, there.high] == pytest.approx([-back.mean, -back.high, -back.low])


@pytest.mark.parametrize(
    ("low", "high", "excludes"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0.0, 0.1, False)]
)
def test_what_excludes_zero(low, high, excludes):
    assert Interval(0.0, low, high).excludes_zero is excludes


def test_no_values_and_unlike_requests_are_refused():
    with pytest.raises(ValueError, match="values: empty; the mean of no requests has no interval"):
        interval(np.array([]), rng())
    with pytest.raises(ValueError, match="a has 2 values, b has 3; a paired comparison needs the same requests"):
        paired(np.zeros(2), np.zeros(3), rng())
