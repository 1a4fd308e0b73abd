"""Embeddings of index fields against plain lookups."""

import pytest
import torch

from recsys.features.batch import Field
from recsys.nn.embedding import SPARSE_ROWS, EmbeddingCollection
from recsys.training.rows import summed

USER = Field("user.user_id", 5, 1, "user.user_id")
ITEM = Field("item.item_id", 4, 1, "item.item_id")
PAST = Field("history.item_id", 4, 1, "item.item_id")
GENRES = Field("item.genres", 6, 3, "item.genres")


def numbered(*fields, dim=2, **settings):
    """A collection whose row r of the fused table is (r, r, …)."""
    found = EmbeddingCollection(fields, dim, **settings)
    with torch.no_grad():
        found.weight.copy_(torch.arange(len(found.weight)).unsqueeze(1).expand(-1, dim))
    return found


def test_tables_lie_behind_one_another_and_share_the_padding_row():
    found = numbered(USER, ITEM, GENRES)
    assert len(found.weight) == 1 + (5 - 1) + (4 - 1) + (6 - 1)
    rows = {"user.user_id": torch.tensor([0, 1, 4]), "item.item_id": torch.tensor([0, 1, 3])}
    assert found(rows, [USER])[:, 0, 0].tolist() == [0, 1, 4]
    assert found(rows, [ITEM])[:, 0, 0].tolist() == [0, 4 + 1, 4 + 3]


def test_fields_of_one_table_share_its_rows():
    found = numbered(USER, ITEM, PAST)
    rows = torch.tensor([[0, 1, 2, 3]])
    assert torch.equal(found({ITEM.name: rows}, [ITEM]), found({PAST.name: rows}, [PAST]))


def test_a_field_of_several_values_is_the_mean_of_those_that_are_no_padding():
    found = numbered(GENRES)
    rows = {GENRES.name: torch.tensor([[1, 2, 5], [3, 0, 0], [0, 0, 0], [4, 0, 2]])}
    expected = [(1 + 2 + 5) / 3, 3 / 1, 0, (4 + 2) / 2]
    assert found(rows, [GENRES])[:, 0, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("leading", [(), (3,), (3, 4)])
def test_keeps_leading_axes_and_the_order_of_fields(leading):
    found = numbered(ITEM, GENRES, dim=2)
    inputs = {ITEM.name: torch.ones(leading, dtype=torch.int64)}
    inputs[GENRES.name] = torch.full((*leading, 3), 2)
    vectors = found(inputs, [GENRES, ITEM])
    assert vectors.shape == (*leading, 2, 2)
    assert (vectors[..., 0, :] == 3 + 2).all()  # the item table has three rows of its own
    assert (vectors[..., 1, :] == 1).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_padding_is_zero_and_gets_no_gradient(sparse):
    found = EmbeddingCollection([ITEM], 3, sparse=sparse)
    vectors = found({ITEM.name: torch.tensor([0, 1, 2])}, [ITEM])
    assert (vectors[0] == 0).all()
    vectors.sum().backward()
    gradient = summed(found.weight.grad).to_dense() if sparse else found.weight.grad
    assert gradient.sum(-1).tolist() == [0, 3, 3, 0]


@pytest.mark.parametrize("sparse", [False, True])
def test_groups_together_are_groups_one_by_one(sparse):
    tags = Field("user.tags", 4, 3, "user.tags")
    found = EmbeddingCollection([ITEM, tags], 3, sparse=sparse)
    inputs = {ITEM.name: torch.tensor([[1, 2], [3, 0]]), tags.name: torch.tensor([[1, 2, 0], [3, 3, 0]])}
    alone = [found(inputs, [ITEM]), found(inputs, [tags])]
    slopes = [torch.randn_like(part) for part in alone]
    gradients = []
    for parts in (alone, found.together(inputs, [ITEM], [tags])):
        found.zero_grad()
        sum((part * slope).sum() for part, slope in zip(parts, slopes, strict=True)).backward()
        gradients.append(summed(found.weight.grad).to_dense() if sparse else found.weight.grad)
        torch.testing.assert_close(parts, alone)
    torch.testing.assert_close(*gradients)


def test_starts_at_the_given_deviation():
    found = EmbeddingCollection([Field("user.x", 20_000, 1, "user.x")], 8, std=0.05)
    assert float(found.weight[1:].detach().std()) == pytest.approx(0.05, rel=0.02)
    assert not EmbeddingCollection([ITEM], 8, std=0.0).weight.any()


@pytest.mark.parametrize(("rows", "sparse"), [(SPARSE_ROWS, False), (SPARSE_ROWS + 1, True)])
def test_large_tables_have_sparse_gradients(rows, sparse):
    assert EmbeddingCollection([Field("user.x", rows, 1, "user.x")], 1).sparse is sparse


def test_a_numeric_field_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^user\.age: numeric; expected an index field$"):
        EmbeddingCollection([Field("user.age", 0, 1, "")], 2)


def test_two_sizes_of_one_table_are_refused_by_name():
    expected = r"^history\.item_id: 9 rows in table 'item\.item_id', but item\.item_id says 4; expected the same$"
    with pytest.raises(ValueError, match=expected):
        EmbeddingCollection([ITEM, Field("history.item_id", 9, 1, "item.item_id")], 2)


def test_nothing_to_embed_is_refused():
    with pytest.raises(ValueError, match=r"^no fields to embed; expected at least one$"):
        EmbeddingCollection([ITEM], 2)({}, [])
