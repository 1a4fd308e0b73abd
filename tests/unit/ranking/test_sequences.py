"""DIN, DIEN, DSIN and BST against their papers, written again in numpy, one request and one candidate at a time."""

import numpy as np
import pytest
import torch

from recsys.errors import ConfigError
from recsys.features.assemble import HISTORY_MASK
from recsys.nn.activation import Dice
from recsys.nn.norm import BatchStandardise
from recsys.ranking.base import select_inputs
from recsys.ranking.configs import BSTConfig, DIENConfig, DINConfig, DSINConfig
from recsys.ranking.dien import next_item_loss
from recsys.ranking.registry import build_ranker
from recsys.training.batches import Samples
from recsys.training.config import TrainingConfig
from recsys.training.module import Auxiliary
from recsys.training.trainer import train

SIZES = {"embedding_dim": 4, "embedding_dropout": 0.0, "hidden": (5,), "dropout": 0.0, "activation": "relu"}
BOTH = ("item.item_id", "item.genres", "history.item_id", "history.genres", "user.age")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.fixture
def cases(drawn, of):
    """For each request and candidate: embedded candidate q, past items oldest first, and the inputs side by side."""

    def each(config):
        found = drawn(config, *BOTH)
        for standardise in (m for m in found.model.modules() if isinstance(m, BatchStandardise)):
            standardise.running_mean.normal_()
            standardise.running_variance.uniform_(0.5, 2)
        seen = found.model.compared(found.inputs)
        lengths = seen.real.sum(1).tolist()
        assert 0 in lengths
        assert 5 in lengths
        for b, length in enumerate(lengths):
            for c in range(4):
                flat = np.concatenate([of(seen.request)[b], of(seen.candidate)[b, c]])
                yield found.model, of(seen.query)[b, c], of(seen.keys)[b, :length], flat, found.logits[b, c]

    return each


def test_what_is_compared_is_the_items_own_embedding(drawn, of):
    found = drawn(DINConfig(kind="din", **SIZES), *BOTH)
    seen, table = found.model.compared(found.inputs), found.model.inputs.embeddings
    item, past = (found.inputs[f"{side}.item_id"] for side in ("item", "history"))
    offset = table.offsets["item.item_id"]
    np.testing.assert_allclose(of(seen.query)[..., :4], of(table.weight)[(item + offset * (item > 0)).numpy()])
    np.testing.assert_allclose(of(seen.keys)[..., :4], of(table.weight)[(past + offset * (past > 0)).numpy()])
    assert (seen.real == (found.inputs[HISTORY_MASK.name] > 0)).all()


def activated(activation, x, of):
    """ReLU, or Dice by its running statistics (section 5.3)."""
    if not isinstance(activation, Dice):
        return np.maximum(x, 0)
    mean, variance = of(activation.standardise.running_mean), of(activation.standardise.running_variance)
    share, slope = sigmoid((x - mean) / np.sqrt(variance + 1e-5)), of(activation.slope)
    return share * x + (1 - share) * slope * x


@pytest.mark.parametrize("activation", ["relu", "dice"])
@pytest.mark.parametrize("hidden", [(5,), (5, 3)])
def test_din_sums_the_history_weighed_by_an_activation_unit(cases, of, hidden, activation):
    config = DINConfig(kind="din", **SIZES | {"activation": activation}, attention_hidden=hidden)
    for model, q, past, flat, logit in cases(config):
        unit, deep, pooled = model.attention, model.deep, np.zeros(8)
        for k in past:
            x = of(unit.query.weight) @ q + of(unit.query.bias) + of(unit.key.weight) @ k + of(unit.product) @ (q * k)
            for between, layer in zip(unit.activations, unit.layers, strict=True):
                x = of(layer.weight) @ activated(between, x, of) + of(layer.bias)
            pooled += x[0] * k
        weight = np.concatenate([of(deep.first.request.weight), of(deep.first.candidate.weight)], axis=1)
        x = weight @ np.concatenate([flat, pooled]) + of(deep.first.candidate.bias)
        x = of(deep.layers[0].weight) @ activated(deep.blocks[0].activation, x, of) + of(deep.layers[0].bias)
        assert logit == pytest.approx(of(model.bias)[0] + x[0], abs=1e-5)


def test_dien_is_a_gru_and_an_augru(cases, of, plain):
    for model, q, past, flat, logit in cases(DIENConfig(kind="dien", **SIZES)):
        cell = model.interests.cell
        w, u = of(cell.weight_ih_l0), of(cell.weight_hh_l0)
        b, d = of(cell.bias_ih_l0), of(cell.bias_hh_l0)
        h, interests = np.zeros(8), []
        for item in past:
            (wr, wu, wn), (ur, uu, un) = np.split(w @ item + b, 3), np.split(u @ h + d, 3)
            update = sigmoid(wu + uu)
            h = (1 - update) * np.tanh(wn + sigmoid(wr + ur) * un) + update * h
            interests.append(h)
        share = softmax(np.array([h @ of(model.attention.weight).T @ q for h in interests])) if len(past) else []
        w, u, b = (
            of(model.evolution.outside.weight),
            of(model.evolution.inside.weight),
            of(model.evolution.outside.bias),
        )
        h = np.zeros(8)
        for a, interest in zip(share, interests, strict=True):
            (wr, wu, wn), (ur, uu, un) = np.split(w @ interest + b, 3), np.split(u @ h, 3)
            update = a * sigmoid(wu + uu)
            h = (1 - update) * h + update * np.tanh(wn + sigmoid(wr + ur) * un)
        expected = of(model.bias)[0] + plain(model.deep, np.concatenate([flat, h]))[0]
        assert logit == pytest.approx(expected, abs=1e-5)


def test_the_auxiliary_loss_tells_next_items_from_others():
    rng = np.random.default_rng(0)
    states, items = (torch.from_numpy(rng.normal(size=(2, 4, 3))) for _ in range(2))
    # One row of three items, one of a single item; the other item is always the same, so nothing is left to chance.
    items[:] = items[0, 0]
    real = torch.tensor([[True, True, True, False], [True, False, False, False]])
    h, e = states.numpy(), items[0, 0].numpy()
    terms = [-np.log(sigmoid(h[0, t] @ e)) - np.log(1 - sigmoid(h[0, t] @ e)) for t in (0, 1)]
    assert next_item_loss(states, items, real).item() == pytest.approx(np.mean(terms))


def test_the_auxiliary_loss_draws_others_from_real_items():
    items = torch.full((2, 3, 1), 1e6)
    items[0, :2, 0] = torch.tensor([1.0, 2.0])
    real = torch.tensor([[True, True, False], [False, False, False]])
    states = torch.ones(2, 3, 1)
    torch.manual_seed(0)
    found = {round(next_item_loss(states, items, real).item(), 4) for _ in range(50)}
    positive = -np.log(sigmoid(2.0))
    assert found == {round(positive - np.log(1 - sigmoid(other)), 4) for other in (1.0, 2.0)}


@pytest.mark.parametrize("length", [0, 1])
def test_without_a_next_item_the_auxiliary_loss_is_zero(length):
    states = torch.ones(3, 4, 2, requires_grad=True)
    real = (torch.arange(4) < length).expand(3, -1)
    loss = next_item_loss(states, torch.ones(3, 4, 2), real)
    loss.backward()
    assert loss.item() == 0
    assert not states.grad.any()


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_auxiliary_loss_counts_as_much_as_its_weight(drawn, weight):
    def auxiliary(value):
        found = drawn(DIENConfig(kind="dien", **SIZES, auxiliary=value), *BOTH)
        assert isinstance(found.model, Auxiliary)
        torch.manual_seed(1)
        scores, own = found.model.with_auxiliary(found.inputs, None)
        torch.testing.assert_close(scores, found.model(found.inputs))
        return own.item()

    assert auxiliary(1.0) > 0
    assert auxiliary(weight) == pytest.approx(weight * auxiliary(1.0))


def attention_block(block, x, of, heads=2):
    """Post-norm block over real positions `(L, K)`."""

    def norm(layer, values):
        centred = values - values.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + layer.eps) * of(layer.weight) + of(
            layer.bias
        )

    def linear(layer, values):
        return values @ of(layer.weight).T + of(layer.bias)

    q, k, v = np.split(linear(block.project, x), 3, axis=-1)
    size = x.shape[-1] // heads
    parts = [slice(head * size, (head + 1) * size) for head in range(heads)]
    seen = [softmax(q[:, part] @ k[:, part].T / np.sqrt(size)) @ v[:, part] for part in parts]
    x = norm(block.attention_norm, x + linear(block.join, np.concatenate(seen, axis=-1)))
    hidden = torch.nn.functional.gelu(torch.from_numpy(linear(block.feed[0], x))).numpy()
    return norm(block.feed_norm, x + linear(block.feed[3], hidden))


def lstm(cell, sequence, of):
    w, u, b = of(cell.weight_ih_l0), of(cell.weight_hh_l0), of(cell.bias_ih_l0) + of(cell.bias_hh_l0)
    h, c, states = np.zeros(8), np.zeros(8), []
    for x in sequence:
        i, f, g, o = np.split(w @ x + u @ h + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return states


@pytest.mark.parametrize(("size", "heads", "feed_forward"), [(2, 2, 4), (3, 1, 2), (10, 4, 1)])
def test_dsin_is_sessions_a_bi_lstm_and_two_attentions(cases, of, plain, size, heads, feed_forward):
    config = DSINConfig(kind="dsin", **SIZES, session_length=size, heads=heads, feed_forward=feed_forward)
    for model, q, past, flat, logit in cases(config):
        newest = past[::-1]
        sessions = [newest[start : start + size] for start in range(0, len(past), size)]
        assert model.block.feed[0].out_features == 8 * feed_forward
        session, item, unit = of(model.session_bias)[:, 0], of(model.item_bias)[0], of(model.unit_bias)[0, 0]
        interests = [
            attention_block(model.block, items + session[s] + item[: len(items)] + unit, of, heads).mean(axis=0)
            for s, items in enumerate(sessions)
        ]
        ahead = lstm(model.order.forwards, interests, of)
        back = lstm(model.order.backwards, interests[::-1], of)[::-1]
        found = []
        for layer, states in ((model.interest, interests), (model.evolved, np.add(ahead, back))):
            share = softmax(np.array([h @ of(layer.weight).T @ q for h in states])) if len(past) else []
            found.append(sum((a * h for a, h in zip(share, states, strict=True)), np.zeros(8)))
        expected = of(model.bias)[0] + plain(model.deep, np.concatenate([flat, *found]))[0]
        assert logit == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("blocks", "heads", "feed_forward"), [(1, 2, 4), (2, 1, 4), (1, 4, 2)])
def test_bst_is_a_transformer_over_the_candidate_and_the_history(cases, of, plain, blocks, heads, feed_forward):
    config = BSTConfig(kind="bst", **SIZES, blocks=blocks, heads=heads, feed_forward=feed_forward)
    for model, q, past, flat, logit in cases(config):
        assert [block.feed[0].out_features for block in model.blocks] == [8 * feed_forward] * blocks
        x = np.concatenate([q[None], past[::-1]]) + of(model.places)[: len(past) + 1]
        for block in model.blocks:
            x = attention_block(block, x, of, heads)
        padded = np.concatenate([x, np.zeros((5 - len(past), 8))])
        expected = of(model.bias)[0] + plain(model.deep, np.concatenate([flat, padded.ravel()]))[0]
        assert logit == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("config", [DSINConfig(kind="dsin", **SIZES, heads=3), BSTConfig(kind="bst", **SIZES, heads=3)])
def test_heads_that_divide_no_vector_are_an_error(config, model_inputs):
    expected = (
        r"^ranking\.model\.heads: 3 do not divide an item's vector of 8 \(embedding_dim 4 times the compared fields\); "
        r"choose another embedding_dim or number of heads$"
    )
    with pytest.raises(ConfigError, match=expected):
        build_ranker(config, select_inputs(model_inputs, config))


def past_samples():
    """Four groups of one candidate: genre 3 in every one, 5 in a single one."""
    past = np.array([[3, 5], [3, 0], [3, 3], [3, 0]])
    inputs = {"history.genre": past, "history.mask": (past > 0).astype(np.float32), "item.genre": np.full((4, 1), 3)}
    return Samples(inputs, np.zeros((4, 1), np.float32), np.ones((4, 1), bool), 2)


def test_mini_batch_aware_penalty_is_smaller_for_what_is_met_often(of, genre_spec):
    model = build_ranker(DINConfig(kind="din", **SIZES, batch_l2=0.1), genre_spec)
    with torch.no_grad():
        model.inputs.embeddings.weight.normal_()
        model.inputs.embeddings.weight[0] = 0
    samples = past_samples()
    model.fit_inputs(samples)
    first = next(samples.in_order())
    scores, penalty = model.train().with_auxiliary(first.inputs, first.mask)
    norms = (of(model.inputs.embeddings.weight) ** 2).sum(axis=1)
    # 3 stands in nine places of the four groups, 5 in one.
    assert penalty.item() == pytest.approx(0.1 * (norms[3] / 9 + norms[5] / 1))
    torch.testing.assert_close(scores, model(first.inputs, first.mask))


def test_mini_batch_aware_penalty_shrinks_vectors(genre_spec):
    def norm(batch_l2):
        torch.manual_seed(0)
        model = build_ranker(DINConfig(kind="din", **SIZES, batch_l2=batch_l2), genre_spec)
        model.fit_inputs(past_samples())
        config = TrainingConfig.model_validate({"epochs": 20, "optimiser": {"learning_rate": 0.01}})
        train(model, lambda scores, *_, **__: scores.sum() * 0, past_samples(), config, seed=0, log=lambda *_: None)
        return model.inputs.embeddings.weight.detach()[[3, 5]].norm().item()

    assert norm(1.0) < 0.8 * norm(0.0)
