"""Names as MLflow's keys: taken by MLflow, told apart, read by people."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_param_name

from recsys.tracking.keys import MAX_KEY, key_of

NAMES = st.text(
    st.sampled_from("ax2045eqt_@=€$/. :-") | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30
)
"""Mostly of the characters that escapes are made of."""


def read_back(key):
    """The name of a key, as the module's docstring says."""

    def character(match):
        if match["code"]:
            return chr(int(match["code"], 16))
        return "=" if match[0] == "_eq_" else "@"

    return re.sub(r"_x(?P<code>[0-9a-f]+)_|_eq_|_at_(?=[0-9])", character, key)


@given(NAMES)
@example("_x24€")
@example("_x24/")
@example("_eq€")
@example("_at@1")
@example("_x5f_x24_")
@example("a//../.")
def test_a_key_is_read_back_so_no_two_names_share_one_and_mlflow_takes_it(name):
    assert read_back(key_of(name)) == name
    _validate_param_name(key_of(name))


@given(st.text(st.sampled_from("ab_-. "), min_size=1, max_size=20), st.integers(MAX_KEY - 5, 400))
def test_names_that_are_too_long_are_cut_and_still_told_apart(end, length):
    first, second = "n" * length + end, "n" * length + "!" + end
    assert len(key_of(first)) <= MAX_KEY
    assert key_of(first) != key_of(second)
    _validate_param_name(key_of(first))
    _validate_param_name(key_of(second))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("funnel/ndcg@10", "funnel/ndcg_at_10"),
        ("slice/history=10-49/funnel/ndcg@10", "slice/history_eq_10-49/funnel/ndcg_at_10"),
        ("route.item_cf/a b:c", "route.item_cf/a b:c"),
        ("look_at_me", "look_at_me"),
        ("max_x", "max_x"),
        ("ndcg×2", "ndcg_xd7_2"),
        ("price €", "price _x20ac_"),
        ("price $", "price _x24_"),
        ("price _x24_", "price _x5f_x24_"),
    ],
)
def test_keys_are_readable(name, expected):
    assert key_of(name) == expected
