"""Crosses against all combinations."""

import itertools

import pytest
import torch

from recsys.errors import ConfigError
from recsys.features.batch import Field
from recsys.ranking.crosses import Cross, crosses_of

GROUP, TAGS = Field("user.group", 5, 1, "user.group"), Field("user.tags", 4, 2, "user.tags")
ITEM, GENRES = Field("item.id", 7, 1, "item.id"), Field("item.genres", 6, 3, "item.genres")
AGE, PAST = Field("user.age", 0, 1, ""), Field("history.id", 7, 1, "item.id")


def everything(*fields):
    """Every combination of values, padding too, a request each with one candidate."""
    rows = torch.tensor(list(itertools.product(*(range(field.rows) for field in fields))))
    return {
        field.name: column if field.side == "user" else column.unsqueeze(1)
        for field, column in zip(fields, rows.T, strict=True)
    }


@pytest.mark.parametrize("parts", [(GROUP, ITEM), (ITEM, GROUP), (GROUP, ITEM, Field("item.kind", 3, 1, "kind"))])
def test_every_combination_has_a_row_where_they_fit(parts):
    inputs = everything(*parts)
    cross = Cross(parts, 1000)
    found = cross.values(inputs).squeeze(1)
    real = torch.stack([inputs[part.name].reshape(-1) > 0 for part in parts]).all(0)
    assert not found[~real].any()
    assert sorted(found[real].tolist()) == list(range(1, cross.field.rows))


def test_too_many_combinations_share_rows_evenly():
    parts = (Field("user.id", 301, 1, "user.id"), Field("item.id", 401, 1, "item.id"))
    cross = Cross(parts, 100)
    found = cross.values(everything(*parts)).squeeze(1)
    counts = torch.bincount(found, minlength=101)
    assert cross.field.rows == 101
    assert counts[0] == 301 + 401 - 1  # padding on either side
    assert 1000 < counts[1:].min() <= counts[1:].max() < 1400  # 300 · 400 / 100 = 1200 each


def test_values_of_large_tables_stay_within_their_buckets():
    parts = [Field(f"user.{name}", 2**31, 1, name) for name in "abc"]
    largest = torch.tensor([2**31 - 1])
    found = Cross(parts, 1000).values({part.name: largest for part in parts})
    assert 1 <= int(found) <= 1000


def test_each_value_of_a_multi_valued_input_takes_part():
    cross = Cross((TAGS, GENRES), 1000)
    inputs = {"user.tags": torch.tensor([[2, 3], [1, 0]]), "item.genres": torch.tensor([[[4, 5, 0]], [[0, 0, 0]]])}
    single = Cross((Field("user.tags", 4, 1, ""), Field("item.genres", 6, 1, "")), 1000)
    expected = [
        int(single.values({"user.tags": torch.tensor([tag]), "item.genres": torch.tensor([[genre]])}))
        for tag, genre in itertools.product((2, 3), (4, 5, 0))
    ]
    found = cross.values(inputs)
    assert cross.field.width == 6
    assert found.shape == (2, 1, 6)
    assert found[0, 0].tolist() == expected
    assert not found[1].any()


def test_a_cross_of_the_request_has_no_axis_of_candidates():
    cross = Cross((GROUP, TAGS), 1000)
    assert cross.field.side == "user"
    found = cross.values({"user.group": torch.tensor([1, 2, 3]), "user.tags": torch.ones(3, 2, dtype=torch.int64)})
    assert found.shape == (3, 2)


@pytest.mark.parametrize("name", ["user.age", "history.id", "item.colour"])
def test_what_is_no_category_is_named_with_those_there_are(name):
    expected = (
        rf"^ranking\.model\.crosses: {name} is no categorical input of the model; there are user\.group, item\.id$"
    )
    with pytest.raises(ConfigError, match=expected):
        crosses_of([GROUP, AGE, PAST, ITEM], [("user.group", "item.id"), ("user.group", name)], 10)
