"""What counts as a positive, and why."""

import numpy as np
import pyarrow as pa
import pytest

from recsys.init.guess import guess_log
from recsys.init.objective import choose_objective
from recsys.init.profile import profile

ROWS = 200


def objective(**labels):
    plain = {
        "user_id": [f"u{n % 20}" for n in range(ROWS)],
        "item_id": [f"i{n * 7 % 31}" for n in range(ROWS)],
    }
    columns = {**plain, **{name: [str(v) for v in values] for name, values in labels.items()}}
    guesses = guess_log([profile(name, pa.array(values, pa.large_string())) for name, values in columns.items()])
    return choose_objective(guesses, ROWS)


def test_without_a_label_every_event_is_a_positive():
    found = objective()
    assert (found.kind, found.label, found.share) == ("implicit", None, 1.0)
    assert found.positive.tolist() == [True] * ROWS
    assert "every event is a positive, negatives are drawn from the candidates" in found.why


def test_rows_that_were_not_clicked_are_the_negatives():
    clicks = [int(n % 4 == 0) for n in range(ROWS)]
    found = objective(purchase=[int(n % 8 == 0) for n in range(ROWS)], is_click=clicks)
    assert (found.kind, found.label, found.at_least, found.share) == ("impressions", "is_click", 1.0, 0.25)
    assert found.positive.tolist() == [click == 1 for click in clicks]
    assert "is_click is 0 in 75.0% of the rows" in found.why


@pytest.mark.parametrize("values", [("0", "1"), ("False", "True")])
def test_a_column_of_two_values_is_no_click_beside_a_rating(values):
    ratings = [1 + n % 5 for n in range(ROWS)]
    found = objective(verified=[values[n % 3 == 0] for n in range(ROWS)], rating=ratings)
    assert (found.kind, found.label) == ("ratings", "rating")


@pytest.mark.parametrize(
    ("weights", "threshold"),
    [
        ((6, 11, 27, 34, 22), 4),  # 56 % are nearer to a half than 22 % and 83 %
        ((5, 5, 10, 20, 60), 5),
        ((70, 20, 5, 3, 2), 2),
    ],
)
def test_the_grade_nearest_to_a_half(weights, threshold):
    grades = np.repeat(np.arange(1, 6), np.array(weights) * 2)
    found = objective(rating=grades)
    assert (found.kind, found.at_least) == ("ratings", threshold)
    assert found.share == pytest.approx((grades >= threshold).mean())


def test_the_shortest_quarter_is_turned_away_from():
    found = objective(watch_seconds=np.arange(1, ROWS + 1))
    assert (found.kind, found.at_least) == ("amounts", 50.0)  # a quarter of 1 … 200, down to two digits
    assert found.share == (ROWS - 49) / ROWS


@pytest.mark.parametrize("least", [0.1, 0.3, 0.7, 3.0, 1234.5, 1e-7])
def test_the_smallest_amount_still_counts_after_rounding_to_32_bits(least):
    found = objective(order_value=[0 if n % 3 else least for n in range(ROWS)])
    assert (found.kind, found.share) == ("amounts", pytest.approx(1 / 3, abs=0.01))
    assert np.float32(least) >= found.at_least > 0.8 * least


def test_amounts_that_are_never_zero_say_nothing_against_an_item():
    found = objective(quantity=[1 + n % 5 for n in range(ROWS)])
    assert (found.kind, found.label) == ("implicit", None)
    assert "quantity is above 0 in every row" in found.why


def test_a_label_that_could_not_be_used_is_mentioned():
    assert "(click is left out: every row says the same (0))" in objective(click=[0] * ROWS).why
    assert "write 0 and 1, not yes" in objective(clicked=["yes", "no"] * (ROWS // 2)).why
