"""Learning rates over a run, against torch's schedulers."""

import math
import warnings

import pytest
import torch
from pydantic import TypeAdapter
from torch.optim import lr_scheduler

from recsys.training.config import ScheduleConfig
from recsys.training.schedules import RateSchedule, rate_share

EPOCHS, STEPS = 6, 10
KINDS = ["constant", "cosine", "step", "exponential", "cyclic", "one_cycle", "plateau"]


def parsed(given):
    return TypeAdapter(ScheduleConfig).validate_python(given)


def ours(given):
    schedule = RateSchedule(parsed(given), EPOCHS, STEPS)
    return [schedule.share(step) for step in range(EPOCHS * STEPS)]


def theirs(make, *, every=1):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimiser), []
    for step in range(EPOCHS * STEPS):
        rates.append(optimiser.param_groups[0]["lr"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if (step + 1) % every == 0:
                scheduler.step()
    return rates


ORACLES = {
    "cosine": ({"kind": "cosine", "last": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS * STEPS, 0.1), 1),
    "step": ({"kind": "step", "epochs": 2, "factor": 0.3}, lambda o: lr_scheduler.StepLR(o, 2, 0.3), STEPS),
    "exponential": ({"kind": "exponential", "factor": 0.7}, lambda o: lr_scheduler.ExponentialLR(o, 0.7), STEPS),
    "cyclic": (
        {"kind": "cyclic", "epochs": 2, "low": 0.2},
        lambda o: lr_scheduler.CyclicLR(o, 0.2, 1.0, step_size_up=STEPS, cycle_momentum=False),
        1,
    ),
}


@pytest.mark.parametrize("kind", ORACLES)
def test_same_as_torchs(kind):
    given, make, every = ORACLES[kind]
    assert ours(given) == pytest.approx(theirs(make, every=every), abs=1e-6)


def test_one_cycle_rises_and_falls_along_cosines():
    rates = ours({"kind": "one_cycle", "rising": 0.5, "first": 0.2, "last": 0.1})
    assert rates[0] == pytest.approx(0.2)
    assert rates[15] == pytest.approx((0.2 + 1) / 2)
    assert rates[30] == max(rates) == pytest.approx(1)
    assert rates[45] == pytest.approx((1 + 0.1) / 2)
    assert rates[59] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_stands_for_a_schedule_with_shares_of_the_rate(kind):
    assert all(0 <= share <= 1 for share in ours(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_warmup_rises_from_nothing_to_the_schedule(kind):
    plain, warm = ours(kind), ours({"kind": kind, "warmup": 0.25})
    assert warm == pytest.approx([share * min(step / 15, 1) for step, share in enumerate(plain)])


def test_a_plateau_lowers_the_rate_when_the_figure_stands_still():
    schedule = RateSchedule(parsed({"kind": "plateau", "factor": 0.5, "patience": 1}), 10, 1)
    shares = []
    for figure in (0.1, 0.2, 0.2, 0.15, 0.3, 0.3, math.nan, 0.3, 0.2):
        schedule.judged(figure)
        shares.append(schedule.share(0))
    assert shares == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_other_schedules_do_not_mind_the_figure():
    schedule = RateSchedule(parsed("constant"), 10, 1)
    for _ in range(5):
        schedule.judged(0.0)
    assert schedule.share(0) == 1


def test_a_plateau_goes_on_from_its_state():
    first, second = (RateSchedule(parsed("plateau"), 10, 1) for _ in range(2))
    for figure in (0.5, 0.4):
        first.judged(figure)
    second.restore(first.state())
    for schedule in (first, second):
        schedule.judged(0.5)
    assert first.share(0) == second.share(0) == 0.25


def test_beyond_the_last_epoch_the_rate_stays_where_it_ended():
    assert rate_share(parsed({"kind": "cosine", "last": 0.2}), 7, 6) == pytest.approx(0.2)
