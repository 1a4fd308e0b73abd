"""Inputs side by side against the same inputs by name."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.features.batch import Field
from recsys.nn.stacked import StackedInputs, columns

WIDTHS = st.lists(st.integers(1, 3), min_size=1, max_size=6)


def made(side, widths, leading):
    fields = [Field(f"{side}.f{number}", 9, width, "") for number, width in enumerate(widths)]
    shapes = [(*leading, *([field.width] if field.width > 1 else [])) for field in fields]
    return fields, {field.name: torch.randint(9, shape) for field, shape in zip(fields, shapes, strict=True)}


@given(WIDTHS, WIDTHS, st.data())
def test_stacked_inputs_are_the_inputs(user, item, data):
    (users, by_user), (items, by_item) = made("user", user, (2,)), made("item", item, (2, 4))
    named = {**by_user, **by_item}
    stacked = StackedInputs([(users, columns(named, users)), (items, columns(named, items))])
    assert dict(stacked).keys() == named.keys()
    assert all(torch.equal(stacked[name], values) for name, values in named.items())
    some = data.draw(st.lists(st.sampled_from(items), min_size=1))
    assert torch.equal(columns(stacked, some), columns(named, some))
    assert "item.f0" in stacked
    assert "item.f9" not in stacked


def test_columns_are_the_values_in_the_order_asked_for():
    one, wide = Field("item.a", 9, 1, ""), Field("item.b", 9, 2, "")
    inputs = {"item.a": torch.tensor([[1, 2]]), "item.b": torch.tensor([[[3, 4], [5, 6]]])}
    assert columns(inputs, [wide, one]).tolist() == [[[3, 4, 1], [5, 6, 2]]]


def test_all_inputs_of_a_group_are_handed_on_as_they_are():
    fields, named = made("user", [1, 2], (3,))
    together = columns(named, fields)
    assert columns(StackedInputs([(fields, together)]), fields) is together
