"""Logistic regression against a dot product with one-hot vectors."""

import numpy as np
import torch

from recsys.features.batch import Field, InputSpec
from recsys.ranking.configs import LRConfig
from recsys.ranking.registry import build_ranker

SPEC = InputSpec(
    (
        Field("user.group", 4, 1, "user.group"),
        Field("user.age", 0, 1, ""),
        Field("item.genres", 5, 2, "item.genres"),
        Field("item.year", 0, 1, ""),
    ),
    1,
)


def test_equals_a_dot_product_with_one_hot_vectors():
    generator = torch.Generator().manual_seed(0)
    model = build_ranker(LRConfig(kind="lr"), SPEC).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(generator=generator)
        model.first_order.weights.weight[0] = 0.0
    group, genres = np.array([3, 1]), np.array([[[1, 2], [4, 0], [0, 0]], [[3, 3], [2, 1], [1, 0]]])
    age, year = np.array([0.5, -1.0]), np.array([[1.0, 2, 3], [-1, 0, 1]])
    inputs = {"user.group": group, "item.genres": genres, "user.age": np.float32(age), "item.year": np.float32(year)}
    found = model({name: torch.from_numpy(values) for name, values in inputs.items()})

    table = model.first_order.weights.weight.detach().numpy()[:, 0]
    of_group, of_genre = np.append(0, table[1:4]), np.append(0, table[4:8])  # padding shares row 0
    parts = [model.bias, model.first_order.request_numbers, model.first_order.candidate_numbers]
    bias, of_age, of_year = (float(part.detach()) for part in parts)
    one_hot = np.eye(5)[genres] * (genres > 0)[..., None]
    shares = one_hot.sum(2) / np.maximum((genres > 0).sum(2), 1)[..., None]
    expected = bias + (np.eye(4)[group] @ of_group + age * of_age)[:, None] + shares @ of_genre + year * of_year
    np.testing.assert_allclose(found.detach().numpy()[..., 0], expected, atol=1e-6)


def test_has_no_weight_beside_these(model_inputs):
    rows = sum({field.table: field.rows - 1 for field in model_inputs.fields if field.is_index}.values())
    model = build_ranker(
        LRConfig(kind="lr"), InputSpec(tuple(f for f in model_inputs.fields if f.side != "history"), 5)
    )
    assert sum(weight.numel() for weight in model.parameters()) == 1 + (1 + rows) + 4  # bias, rows and padding, numbers
