from recsys.funnel.parity import difference, tolerance

A = (["a", "b", "c"], [3.0, 2.0, 1.0])


def test_tolerance_is_absolute_plus_relative():
    assert tolerance([]) == 1e-5
    assert tolerance([-200.0, 100.0]) == 1e-5 + 1e-5 * 200


def test_equal_lists():
    assert difference(*A, *A) is None
    assert difference([], [], [], []) is None


def test_a_length_is_told():
    assert difference(*A, ["a"], [3.0]) == "1 items, expected 3"


def test_a_score_outside_the_band_is_told():
    assert difference(*A, ["a", "b", "c"], [3.0, 2.1, 1.0]) == "score 2.1 at rank 2, expected 2 ± 4e-05"
    assert difference(*A, ["a", "b", "c"], [3.0, float("nan"), 1.0]) is not None
    assert difference(*A, ["a", "b", "c"], [3.0, 2.00003, 1.0]) is None


def test_a_swap_inside_the_band_is_no_difference():
    assert difference(["a", "b"], [1.000001, 1.0], ["b", "a"], [1.000001, 1.0]) is None


def test_a_swap_outside_the_band_is_told():
    assert difference(["a", "b"], [2.0, 1.0], ["b", "a"], [2.0, 1.0]) == "item 'a' scored 1, expected 2 ± 3e-05"


def test_an_item_may_drop_off_the_end_only_on_a_tie():
    assert difference(["a", "b"], [2.0, 1.0], ["a", "z"], [2.0, 1.0]) is None
    assert difference(["a", "b"], [2.0, 1.0], ["z", "b"], [2.0, 1.0]) == "item 'a' scored 1, expected 2 ± 3e-05"


def test_a_repeated_item_is_told():
    assert difference(["a", "b"], [1.0, 1.0], ["a", "a"], [1.0, 1.0]) == "item 'a' comes twice"
