"""DIN reads the history from the candidate."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from recsys.errors import ConfigError
from recsys.features.assemble import HISTORY_MASK
from recsys.features.batch import Field, InputSpec
from recsys.losses.pointwise import bce
from recsys.nn.activation import Dice
from recsys.ranking.base import select_inputs
from recsys.ranking.configs import DINConfig
from recsys.ranking.registry import build_ranker
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.trainer import predict, seeded, train

CONFIG = DINConfig(kind="din", embedding_dim=8, hidden=(16,), attention_hidden=(8,), dropout=0.0, embedding_dropout=0.0)
SPEC = InputSpec((Field("history.genre", 12, 1, "genre"), HISTORY_MASK, Field("item.genre", 12, 1, "genre")), 6)


def test_without_a_past_field_it_says_what_to_name(model_inputs):
    config = CONFIG.model_copy(update={"exclude": ("history.item_id", "history.genres")})
    expected = (
        r"^ranking\.model: din compares past items with the candidate, but no categorical field is in both "
        r"features\.history\.fields and the model's item inputs; name one, such as item_id or a category$"
    )
    with pytest.raises(ConfigError, match=expected):
        build_ranker(config, select_inputs(model_inputs, config))


def test_past_items_and_candidates_share_their_tables(model_inputs):
    model = build_ranker(CONFIG, select_inputs(model_inputs, CONFIG))
    targets = [model.inputs.candidate[place] for place in model.target]
    pairs = [(past.table, target.table) for past, target in zip(model.inputs.past, targets, strict=True)]
    assert pairs == [("item.item_id", "item.item_id"), ("item.genres", "item.genres")]


def seen_before(requests, rng):
    """A candidate is liked when its genre is in the history: neither genre says anything alone."""
    lengths = rng.integers(0, 7, requests)
    real = np.arange(6) < lengths[:, None]
    past = np.where(real, rng.integers(2, 12, (requests, 6)), 0)
    genre = rng.integers(2, 12, (requests, 5))
    labels = (genre[:, :, None] == past[:, None, :]).any(axis=-1).astype(np.float32)
    inputs = {"history.genre": past, "history.mask": real.astype(np.float32), "item.genre": genre}
    return Samples(inputs, labels, np.ones(labels.shape, dtype=bool), 64)


@pytest.mark.parametrize("activation", ["dice", "prelu", "relu"])
def test_learns_what_only_attention_can_see(activation):
    rng = np.random.default_rng(0)
    with seeded(0):
        model = build_ranker(CONFIG.model_copy(update={"activation": activation}), SPEC)
    fitting, unseen = seen_before(1000, rng), seen_before(300, rng)
    model.fit_inputs(fitting)
    config = TrainingConfig.model_validate({"epochs": 20, "optimiser": {"learning_rate": 0.02}})
    train(model, bce, fitting, config, seed=0, log=lambda *_: None)
    # 1.00 for every one of eight seeds; the length of the history alone gives 0.73.
    assert roc_auc_score(unseen.labels.ravel(), predict(model, unseen).ravel()) > 0.9


def test_an_empty_history_scores_like_no_history():
    model = build_ranker(CONFIG, SPEC).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(0))
    genre = torch.arange(12).reshape(1, 12)
    empty = {"history.mask": torch.zeros(1, 6), "item.genre": genre}
    first = model(empty | {"history.genre": torch.zeros(1, 6, dtype=torch.int64)})
    torch.testing.assert_close(model(empty | {"history.genre": torch.full((1, 6), 5)}), first)


def test_statistics_of_dice_ignore_padded_history_and_candidates():
    def statistics(fill):
        with seeded(0):
            model = build_ranker(CONFIG, SPEC)
        inputs = {
            "history.genre": torch.tensor([[3, 4, fill, fill, fill, fill]]),
            "history.mask": torch.tensor([[1.0, 1, 0, 0, 0, 0]]),
            "item.genre": torch.tensor([[2, 5, fill]]),
        }
        model.train()(inputs, torch.tensor([[True, True, False]]))
        return [d.standardise.running_mean for d in model.modules() if isinstance(d, Dice)]

    found, expected = statistics(9), statistics(0)
    assert len(found) == 2
    assert all(mean.any() for mean in found)
    torch.testing.assert_close(found, expected)
