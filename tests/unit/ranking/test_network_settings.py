"""What every ranker's settings say of its networks is what its networks are."""

import typing

import pytest
from torch.nn import functional

from recsys.nn.mlp import Block
from recsys.nn.norm import NORMS
from recsys.nn.sequence import AttentionBlock
from recsys.ranking.base import select_inputs
from recsys.ranking.configs import MULTI_TASK, RankerConfig
from recsys.ranking.registry import build_ranker
from recsys.ranking.settings.base import EmbeddingSettings, NetworkSettings

CLASSES = {
    model.model_fields["kind"].annotation.__args__[0]: model
    for model in typing.get_args(typing.get_args(RankerConfig)[0])
}
NETWORKS = [kind for kind, model in CLASSES.items() if issubclass(model, NetworkSettings)]
VECTORS = [kind for kind, model in CLASSES.items() if issubclass(model, EmbeddingSettings)]


@pytest.fixture
def built(model_inputs):
    def build(kind, **settings):
        config = CLASSES[kind](kind=kind, **settings)
        return build_ranker(config, select_inputs(model_inputs, config), 2 if kind in MULTI_TASK else 1)

    return build


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("norm", NORMS)
def test_every_layer_is_normalised_activated_and_dropped(built, kind, norm):
    model = built(kind, hidden=(6, 4), activation="elu", norm=norm, dropout=0.37)
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    assert len(blocks) >= 2
    assert {type(block.norm) for block in blocks} == {type(NORMS[norm](1))}
    assert {block.activation.function for block in blocks} == {functional.elu}
    assert {block.dropout.p for block in blocks} == {0.37}


@pytest.mark.parametrize("kind", VECTORS)
def test_embeddings_are_dropped_as_the_settings_say(built, kind):
    assert built(kind, embedding_dropout=0.41).inputs.dropout.p == 0.41


def test_dropout_falls_on_pooled_pairs_and_within_blocks(built):
    assert built("afm", dropout=0.43).dropout.p == 0.43
    assert built("nfm", dropout=0.43).dropout.p == 0.43
    for kind in ("dsin", "bst"):
        blocks = [m for m in built(kind, attention_dropout=0.47).modules() if isinstance(m, AttentionBlock)]
        assert {(block.dropout.p, block.feed[2].p) for block in blocks} == {(0.47, 0.47)}


def test_every_setting_of_afm_has_its_layer(built):
    assert built("afm", attention_dim=7).attend[0].out_features == 7
