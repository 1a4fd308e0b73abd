"""Which inputs a ranker reads, and what it takes from the training samples."""

import numpy as np
import pytest
import torch

from recsys.errors import ConfigError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec
from recsys.ranking.base import FieldInputs, Ranker, select_inputs
from recsys.ranking.configs import DeepFMConfig, DINConfig
from recsys.training.batches import Samples

DEEPFM, DIN = DeepFMConfig(kind="deepfm"), DINConfig(kind="din", history_length=50)
PAST = ("history.item_id", "history.genres")


def names(spec):
    return tuple(field.name for field in spec.fields)


def chosen(model_inputs, config, **update):
    return names(select_inputs(model_inputs, config.model_copy(update=update)))


def test_deepfm_reads_all_but_the_history(model_inputs):
    expected = tuple(name for name in names(model_inputs) if not name.startswith("history."))
    assert chosen(model_inputs, DEEPFM) == expected


def test_din_reads_the_categories_of_past_items_and_their_mask_but_not_their_numbers(model_inputs):
    expected = tuple(name for name in names(model_inputs) if name != "history.year")
    assert chosen(model_inputs, DIN) == expected


def test_named_fields_keep_the_order_of_the_inputs(model_inputs):
    fields = ("route.popular.rank", "item.genres", "user.age")
    assert chosen(model_inputs, DEEPFM, fields=fields) == ("user.age", "item.genres", "route.popular.rank")


def test_the_mask_comes_with_any_field_of_past_items(model_inputs):
    fields = ("item.genres", "history.genres")
    assert chosen(model_inputs, DIN, fields=fields) == ("history.genres", HISTORY_MASK.name, "item.genres")


def test_excluded_fields_are_left_out(model_inputs):
    found = chosen(model_inputs, DEEPFM, exclude=("user.group", "item.item_id"))
    assert "user.group" not in found
    assert "item.item_id" not in found
    assert chosen(model_inputs, DEEPFM, fields=("user.age", "item.year"), exclude=("user.age",)) == ("item.year",)


def test_a_past_field_goes_with_the_candidates(model_inputs):
    found = chosen(model_inputs, DIN, exclude=("item.item_id",))
    assert "history.item_id" not in found
    assert "history.genres" in found
    without = chosen(model_inputs, DIN, exclude=("item.item_id", "item.genres"))
    assert not any(name.startswith("history.") for name in without)


@pytest.mark.parametrize(("asked", "expected"), [(3, 3), (50, 5)])
def test_the_history_is_as_long_as_the_shorter_of_both_says(model_inputs, asked, expected):
    assert select_inputs(model_inputs, DINConfig(kind="din", history_length=asked)).history_length == expected


@pytest.mark.parametrize("key", ["fields", "exclude"])
def test_an_unknown_input_is_named_with_those_there_are(model_inputs, key):
    config = DEEPFM.model_copy(update={key: ("item.year", "user.aeg")})
    expected = r"^ranking\.model: no model input user\.aeg; there are context\.hour, history\.genres, .*user\.tags$"
    with pytest.raises(ConfigError, match=expected):
        select_inputs(model_inputs, config)


def test_nothing_of_the_candidates_is_refused(model_inputs):
    config = DEEPFM.model_copy(update={"fields": ("user.age",)})
    expected = r"^ranking\.model\.fields: found no item\.\* or route\.\* input, so all candidates would score alike$"
    with pytest.raises(ConfigError, match=expected):
        select_inputs(model_inputs, config)


AGE, HOUR = Field("user.age", 0, 1, ""), Field("context.hour", 0, 1, "")
YEAR, RANK = Field("item.year", 0, 1, ""), Field("route.popular.rank", 0, 1, "")


@pytest.fixture
def samples():
    """Numbers of padded candidates are far off."""
    rng = np.random.default_rng(0)
    mask = np.arange(4) < rng.integers(1, 5, 40)[:, None]
    inputs = {name: rng.normal(7, 3, shape) for name, shape in (("user.age", 40), ("item.year", (40, 4)))}
    inputs["item.year"][~mask] = 1e6
    inputs = {name: values.astype(np.float32) for name, values in inputs.items()}
    return Samples(inputs, (rng.random((40, 4)) < 0.3).astype(np.float32), mask, 16)


def test_numbers_are_standardised_over_requests_and_real_candidates(samples):
    ranker = Ranker(InputSpec((AGE, YEAR), 1), 4, 0.0)
    ranker.fit_inputs(samples)
    model = ranker.inputs
    inputs = {name: torch.from_numpy(values) for name, values in samples.inputs.items()}
    request, candidate = model.numbers(inputs)
    real = candidate[torch.from_numpy(samples.mask)]
    for numbers, given in ((request, samples.inputs["user.age"]), (real, samples.inputs["item.year"][samples.mask])):
        np.testing.assert_allclose(numbers[..., 0], (given - given.mean()) / given.std(), atol=1e-4)


def test_numbers_keep_their_order_over_sides():
    model = FieldInputs(InputSpec((AGE, HOUR, YEAR, RANK), 1), 4, 0.0)
    inputs = {"user.age": torch.tensor([1.0]), "context.hour": torch.tensor([2.0])}
    inputs |= {"item.year": torch.tensor([[3.0, 4.0]]), "route.popular.rank": torch.tensor([[5.0, 6.0]])}
    request, candidate = model.numbers(inputs)
    assert request.tolist() == [[1, 2]]
    assert candidate.tolist() == [[[3, 5], [4, 6]]]
    assert model.shape(inputs) == (1, 2)
    vectors = model.vectors(inputs)
    assert [part.shape for part in vectors] == [(1, 0, 4), (1, 2, 0, 4)]


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_the_bias_starts_at_the_log_odds_of_the_real_labels(samples, rate):
    labels = np.where(samples.mask, np.float32(rate), np.float32(9))
    model = Ranker(InputSpec((AGE, YEAR), 1), 4, 0.0)
    model.fit_inputs(Samples(samples.inputs, labels, samples.mask, 16))
    share = min(max(rate, 1e-4), 1 - 1e-4)  # a log without negatives still needs a finite start
    assert float(model.bias.detach()) == pytest.approx(np.log(share / (1 - share)), rel=1e-4)


def test_embeddings_are_dropped_in_training_only():
    spec = InputSpec((Field("user.id", 5, 1, "user.id"), Field("item.id", 5, 1, "item.id")), 1)
    model = FieldInputs(spec, 400, 0.5)
    with torch.no_grad():
        model.embeddings.weight.fill_(1.0)
    inputs = {"user.id": torch.ones(1, dtype=torch.int64), "item.id": torch.ones(1, 1, dtype=torch.int64)}
    for vectors in model.vectors(inputs):
        assert float((vectors == 0).float().mean()) == pytest.approx(0.5, abs=0.15)
    assert all((vectors == 1).all() for vectors in model.eval().vectors(inputs))
